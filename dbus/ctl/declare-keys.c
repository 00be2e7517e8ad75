/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb by which keys are declared without a lock: by people, and by programs that a timer runs. */
#include <stdio.h>

#include "ctl/agent.h"
#include "ctl/ctl.h"
#include "ctl/declare.h"
#include "ctl/lock.h"
#include "ctl/options.h"
#include "names.h"

static const char declare_summary[] =
    "Says which patterns master keys have in CUR, of AP queues that this host cannot see, as lszcrypt and the "
    "TKE\n"
    "show them: 04.0012:AES=0x0123456789abcdef. CLASS is AES, APKA, ASYM (of CCA) or WK (of EP11), and in "
    "place of a\n"
    "queue any scope may stand: '*.0012:AES=0x...'. It is kept with your name and the time: see 'apmigctl "
    "keys'.\n"
    "After a change of keys say it with 'apmigctl unlock' instead.";

typedef struct {
    CtlCommon common;
    char *evidence;
    char *change_id;
    char *from;
    GPtrArray *pairs; /* each key "QUEUES CLASS" and after it its pattern */
} DeclareOptions;

static void
declare_options_clear(DeclareOptions *options)
{
    ctl_common_clear(&options->common);
    g_free(options->evidence);
    g_free(options->change_id);
    g_free(options->from);
    g_clear_pointer(&options->pairs, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DeclareOptions, declare_options_clear)

static gboolean
parse_declare_options(int argc, char **argv, DeclareOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"class", 0, 0, G_OPTION_ARG_STRING, &options->evidence,
         "How much it counts (default: declared); attested is for who can know, and counts more",
         "declared|attested"},
        {"change-id", 0, 0, G_OPTION_ARG_STRING, &options->change_id, "Number of the change request", "ID"},
        {"from", 0, 0, G_OPTION_ARG_FILENAME, &options->from,
         "Keys from a file as well, one a line; # begins a comment", "FILE"},
        {NULL},
    };
    const CtlUsage usage = {"[QUEUES:CLASS=PATTERN...]", declare_summary, NULL, entries, 0, G_MAXINT};

    if (!ctl_parse_options(&argc, &argv, &usage, &options->common, error))
        return FALSE;
    options->pairs = g_ptr_array_new_with_free_func(g_free);
    for (int i = 1; i < argc; i++)
        if (!ctl_declare_add(options->pairs, argv[i], error))
            return FALSE;
    if (options->from && !ctl_declare_add_file(options->pairs, options->from, error))
        return FALSE;
    if (options->pairs->len > 0)
        return TRUE;
    g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE,
                        "no key is declared: give QUEUES:CLASS=PATTERN, or a file with --from=");
    return FALSE;
}

static int
append_arguments(sd_bus_message *call, const DeclareOptions *options)
{
    int r = ctl_bus_append_pairs(call, options->pairs);

    if (r >= 0)
        r = sd_bus_message_open_container(call, 'a', "{sv}");
    if (r >= 0 && options->evidence)
        r = sd_bus_message_append(call, "{sv}", "class", "s", options->evidence);
    if (r >= 0 && options->change_id)
        r = sd_bus_message_append(call, "{sv}", "change-id", "s", options->change_id);
    return r < 0 ? r : sd_bus_message_close_container(call);
}

static void
print_declared(JsonNode *warnings, const DeclareOptions *options)
{
    JsonArray *sentences = json_node_get_array(warnings);

    if (options->common.json != CTL_JSON_OFF) {
        JsonObject *object = json_object_new();

        json_object_set_member(object, "Warnings", json_node_copy(warnings));
        ctl_print_json(json_node_init_object(json_node_alloc(), object), options->common.json);
        json_object_unref(object);
        return;
    }
    for (guint i = 0; i < json_array_get_length(sentences); i++) {
        g_autofree char *safe = ctl_escape(json_array_get_string_element(sentences, i));

        printf("Warning: %s\n", safe);
    }
    if (!options->common.quiet)
        puts("What was declared is kept: 'apmigctl keys' shows it.");
}

int
ctl_verb_declare(int argc, char **argv, GError **error)
{
    g_auto(DeclareOptions) options = {0};

    if (!parse_declare_options(argc, argv, &options, error))
        return CTL_EXIT_USAGE;

    g_autoptr(CtlAgent) agent = NULL;
    g_autoptr(sd_bus) bus = ctl_bus_open_to_change(&options.common, &agent, error);
    g_autoptr(sd_bus_message) call =
        bus ? ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "DeclareKeys", error) : NULL;

    if (!call || !ctl_bus_check(append_arguments(call, &options), error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, CTL_STUCK_USEC, NULL, NULL, error);
    g_autoptr(JsonNode) warnings = reply ? ctl_bus_read_json(reply, error) : NULL;

    if (!warnings)
        return CTL_EXIT_FAILURE;
    print_declared(warnings, &options);
    return CTL_EXIT_OK;
}
