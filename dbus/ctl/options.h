/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line of a verb.
 */
#pragma once

#include "ctl/format.h"

/* Options that verbs have in common. */
typedef struct {
    CtlJson json;
    gboolean quiet;
    char *host; /* whose apmigd is asked, for ctl_bus_open(); NULL: this host's */
    gboolean no_ask_password;
} CtlCommon;

void ctl_common_clear(CtlCommon *common);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CtlCommon, ctl_common_clear)

typedef struct {
    const char *arguments;       /* as in the usage line: "SCOPE REASON" */
    const char *summary;         /* what the verb does */
    const char *description;     /* (nullable): what follows the options in --help */
    const GOptionEntry *entries; /* (nullable): its own options */
    int min, max;                /* how many arguments it takes */
} CtlUsage;

/**
 * ctl_parse_options: removes the options from @argv; --help prints and ends the program
 * @common: (nullable): also --json=, --quiet and --host=
 * @error: #CTL_EXIT_USAGE
 *
 * After it, argv[1] to argv[*argc - 1] are the arguments, valid UTF-8.
 */
gboolean ctl_parse_options(int *argc, char ***argv, const CtlUsage *usage, CtlCommon *common,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
