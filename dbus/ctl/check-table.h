/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What CheckMigration found, for people: a table of 80 to 120 columns, and what is to be done.
 */
#pragma once

#include <json-glib/json-glib.h>

/**
 * ctl_name_findings:
 * @findings: the a(ssssss) as ctl_bus_read_json() has it
 *
 * Returns: (transfer full): an array of objects with Severity, Subject, Code, Source, Destination and Remedy.
 */
JsonArray *ctl_name_findings(JsonArray *findings);

/* @findings: as ctl_name_findings(). @all: also what is as it should be. */
void ctl_print_findings(JsonArray *findings, gboolean all);
