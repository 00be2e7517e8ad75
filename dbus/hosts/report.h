/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is told of many hosts: one table and one sentence, or one JSON object. Main thread.
 */
#pragma once

#include "hosts/options.h"
#include "hosts/question.h"

typedef struct {
    const HostsOptions *options;
    const HostsQuestion *question;
    const GPtrArray *hosts;           /* (element-type HostsHost) */
    const char *verdict;              /* a word: "GO", "NO-GO", "RELEASED" and so on */
    const char *sentence;             /* the last line */
    const GPtrArray *reasons;         /* (nullable) (element-type ApmigFleetReason) */
    const GPtrArray *warnings;        /* (nullable) (element-type utf8): sentences */
    const ApmigFleetRelease *release; /* (nullable): what is known of keys */
    gboolean is_undone;               /* what was made has been released */
} HostsReport;

/* Prints it to standard output, as its options say. */
void hosts_report(const HostsReport *report);

/* Tells what the judge says. Returns: the exit status. */
int hosts_report_verdict(const HostsOptions *options, const HostsQuestion *question, const GPtrArray *hosts,
                         const ApmigFleetVerdict *verdict);

/* Returns: the exit status by which hosts have failed: of the first that said no; #CTL_EXIT_UNREACHABLE where none did and one
 * cannot be reached; 0: none has failed. */
int hosts_failure_status(const GPtrArray *hosts);

/* Returns: (transfer full): a sentence of those that have failed, and why: "" where none has. */
char *hosts_describe_failures(const GPtrArray *hosts);

/* The keys across hosts, as a table. */
void hosts_print_keys(const GPtrArray *findings);
/* Returns: (transfer full) */
JsonArray *hosts_keys_to_json(const GPtrArray *findings);
