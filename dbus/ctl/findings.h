/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was found out about this host and its apmigd: one list, weighed on one scale, which "apmigctl doctor" prints in full
 * and "apmigctl status --check" judges in one line.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "base/severity.h"

/* Returns: (transfer full): an empty list. */
GPtrArray *ctl_findings_new(void);

/**
 * ctl_findings_add: adds what was found out by one check
 * @id: static: the check's name, for programs: lower case, part of the interface
 * @remedy: (nullable): what to do or to type; NULL with APMIG_SEVERITY_NONE alone
 * @format: a sentence on what was found
 */
void ctl_findings_add(GPtrArray *findings, ApmigSeverity severity, const char *id, const char *remedy,
                      const char *format, ...) G_GNUC_PRINTF(5, 6);

/* Returns: the weightiest severity among @findings. */
ApmigSeverity ctl_findings_severity(const GPtrArray *findings);

/* Returns: (transfer full): all of them, as "doctor" tells them to programs. */
JsonNode *ctl_findings_to_json(const GPtrArray *findings);

/* A line for each, and one for its remedy. @quiet: without what is as it should be. */
void ctl_findings_print(const GPtrArray *findings, gboolean quiet);

/**
 * ctl_findings_print_summary: one line for a monitoring system, without a newline at its end: how bad it is, and what is
 * wrong, the worst first
 *
 * Returns: the exit status that goes with it, of those that monitoring systems take from Nagios
 * (https://www.monitoring-plugins.org/doc/guidelines.html)
 */
int ctl_findings_print_summary(const GPtrArray *findings);
