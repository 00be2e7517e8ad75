/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/options.h"

static gboolean
parse_json_option(const char *option, const char *value, gpointer data, GError **error)
{
    CtlCommon *common = data;

    if (g_str_equal(value, "short")) {
        common->json = CTL_JSON_SHORT;
    } else if (g_str_equal(value, "pretty")) {
        common->json = CTL_JSON_PRETTY;
    } else {
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--json= takes short or pretty");
        return FALSE;
    }
    return TRUE;
}

void
ctl_common_clear(CtlCommon *common)
{
    g_free(common->host);
}

static void
add_common(GOptionContext *context, CtlCommon *common)
{
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_CALLBACK, parse_json_option,
         "Print JSON with the names of the bus interface", "short|pretty"},
        {"host", 'H', 0, G_OPTION_ARG_STRING, &common->host, "Ask the apmigd of HOST, over ssh",
         "[USER@]HOST"},
        {"no-ask-password", 0, 0, G_OPTION_ARG_NONE, &common->no_ask_password,
         "Fail where polkit wants a password, instead of asking for it", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &common->quiet, "Print only what was asked for, no explanations",
         NULL},
        {NULL},
    };
    GOptionGroup *group = g_option_group_new("apmigctl", "", "", common, NULL);

    g_option_group_add_entries(group, entries);
    g_option_context_set_main_group(context, group);
}

static gboolean
check_arguments(int argc, char **argv, const CtlUsage *usage, GError **error)
{
    if (argc - 1 < usage->min || argc - 1 > usage->max) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE,
                    "the arguments are %s; one that holds spaces needs quotes. See '%s --help'",
                    *usage->arguments ? usage->arguments : "none", g_get_prgname());
        return FALSE;
    }
    for (int i = 1; i < argc; i++) {
        if (!g_utf8_validate(argv[i], -1, NULL)) {
            g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE, "argument %d is not valid UTF-8", i);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean
ctl_parse_options(int *argc, char ***argv, const CtlUsage *usage, CtlCommon *common, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(usage->arguments);
    g_autofree char *name = g_strdup_printf("apmigctl %s", (*argv)[0]);
    GError *problem = NULL;

    g_set_prgname(name);
    g_option_context_set_summary(context, usage->summary);
    g_option_context_set_description(context, usage->description ? usage->description : ctl_exit_statuses());
    if (common)
        add_common(context, common);
    if (usage->entries)
        g_option_context_add_main_entries(context, usage->entries, NULL);

    if (!g_option_context_parse(context, argc, argv, &problem)) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE, "%s. See '%s --help'", problem->message, name);
        g_error_free(problem);
        return FALSE;
    }
    /* What follows "--" is an argument; the dashes themselves GOption leaves in place. */
    if (*argc > 1 && g_str_equal((*argv)[1], "--")) {
        for (int i = 1; i + 1 < *argc; i++)
            (*argv)[i] = (*argv)[i + 1];
        (*argc)--;
    }
    return check_arguments(*argc, *argv, usage, error);
}
