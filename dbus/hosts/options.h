/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line of a verb over many hosts.
 */
#pragma once

#include "ctl/options.h"
#include "hosts/crew.h"

typedef struct {
    CtlCommon common;
    char *list, *file, *host_timeout;
    char **except_words;
    gint64 silence_usec; /* for how long a host may be silent */
    GPtrArray *names;    /* of char *: all hosts */
    GPtrArray *except;   /* of char *: of which nothing is asked, and nothing is proven */
    GPtrArray *asked;    /* of char *: the others, of which there is one at least */
} HostsOptions;

void hosts_options_clear(HostsOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HostsOptions, hosts_options_clear)

/* As ctl_parse_options(), with the options that all verbs over many hosts have. */
gboolean hosts_parse_options(int *argc, char ***argv, const CtlUsage *usage, HostsOptions *options,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full): of the hosts that are asked. */
HostsCrew *hosts_crew_of(const HostsOptions *options);
