/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs that tell of AP queues and master keys. */
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "names.h"
#include "ctl/options.h"

static const char *const queue_titles[] = {"QUEUE", "TYPE", "MODE", "DRIVER", "STATE", "USED BY", NULL};
static const char *const key_titles[] = {"QUEUE", "CLASS", "EVIDENCE", "SINCE", "NEW", "CUR", "OLD", NULL};

static GPtrArray *
rows_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
}

/* --- queues -------------------------------------------------------------------------------------- */

/* What is not there is not known. */
static gboolean
is_known_to_be(JsonObject *object, const char *name, gboolean value)
{
    return json_object_has_member(object, name) && ctl_bool(object, name) == value;
}

static const char *
describe_state(JsonObject *queue)
{
    if (is_known_to_be(queue, "config", FALSE))
        return "deconfigured";
    if (is_known_to_be(queue, "chkstop", TRUE))
        return "checkstopped";
    if (is_known_to_be(queue, "online", FALSE))
        return "offline";
    if (*ctl_string(queue, "status"))
        return ctl_string(queue, "status");
    return is_known_to_be(queue, "online", TRUE) ? "online" : "-";
}

static char *
describe_user(JsonObject *queue)
{
    const char *device = ctl_string(queue, "device");

    if (*ctl_string(queue, "guest-name"))
        return g_strdup_printf("guest %s", ctl_string(queue, "guest-name"));
    if (g_str_equal(ctl_string(queue, "driver"), "cex4queue"))
        return g_strdup("this host");
    if (g_str_equal(ctl_string(queue, "status"), "in use"))
        return g_strdup_printf("%s, device %s",
                               ctl_bool(queue, "guest-known") ? "a guest not of this libvirt" : "a guest",
                               *device ? device : "unknown");
    return *device ? g_strdup_printf("device %s", device) : g_strdup("-");
}

static void
print_queues(JsonArray *queues)
{
    g_autoptr(GPtrArray) rows = rows_new();

    for (guint i = 0; i < json_array_get_length(queues); i++) {
        JsonObject *queue = json_array_get_object_element(queues, i);
        const char *driver = ctl_string(queue, "driver");
        char **row = g_new0(char *, G_N_ELEMENTS(queue_titles));

        row[0] = g_strdup(ctl_string(queue, "queue"));
        row[1] = g_strdup(*ctl_string(queue, "type") ? ctl_string(queue, "type") : "-");
        row[2] = g_strdup(ctl_string(queue, "mode"));
        row[3] = g_strdup(*driver ? driver : "none");
        row[4] = g_strdup(describe_state(queue));
        row[5] = describe_user(queue);
        g_ptr_array_add(rows, row);
    }
    ctl_print_table(queue_titles, rows, "");
}

int
ctl_verb_queues(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    const CtlUsage usage = {
        "",   "Lists the AP queues of this host, whether it uses them itself, and which guest does.",
        NULL, NULL,
        0,    0};

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, error);
    g_autoptr(sd_bus_message) call =
        bus ? ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListQueues", error) : NULL;
    g_autoptr(JsonArray) queues = call ? ctl_bus_call_for_list(bus, call, error) : NULL;

    if (!queues)
        return CTL_EXIT_FAILURE;
    if (common.json != CTL_JSON_OFF)
        ctl_print_json(json_node_init_array(json_node_alloc(), queues), common.json);
    else if (json_array_get_length(queues) > 0)
        print_queues(queues);
    else if (!common.quiet)
        puts("This host has no AP queues.");
    return CTL_EXIT_OK;
}

/* --- keys ---------------------------------------------------------------------------------------- */

static char *
describe_register(JsonObject *key, const char *name)
{
    g_autofree char *member = g_strconcat(name, "-state", NULL);
    const char *state = ctl_string(key, member), *pattern = ctl_string(key, name);

    if (g_str_equal(state, "unknown"))
        return g_strdup("-");
    if (!*pattern || g_str_equal(state, "valid"))
        return g_strdup(*pattern ? pattern : state);
    return g_strdup_printf("%s %s", state, pattern);
}

static char *
describe_evidence(JsonObject *key)
{
    const char *source = ctl_string(key, "source");

    return *source ? g_strdup_printf("%s by %s", ctl_string(key, "evidence"), source)
                   : g_strdup(ctl_string(key, "evidence"));
}

static char **
key_row(JsonObject *key)
{
    char **row = g_new0(char *, G_N_ELEMENTS(key_titles));

    row[0] = g_strdup(ctl_string(key, "queue"));
    row[1] = g_strdup(ctl_string(key, "class"));
    row[2] = describe_evidence(key);
    row[3] = ctl_format_time(ctl_int(key, "time"));
    row[4] = describe_register(key, "new");
    row[5] = describe_register(key, "cur");
    row[6] = describe_register(key, "old");
    return row;
}

/* A queue's classes stand together: "02.0004 (APKA)", "02.0005 (AES, APKA, ASYM)". */
static void
append_unknown(GString *queues, const char **last, JsonObject *key)
{
    const char *queue = ctl_string(key, "queue"), *key_class = ctl_string(key, "class");
    gboolean same = *last && g_str_equal(*last, queue);

    if (same)
        g_string_truncate(queues, queues->len - 1);
    g_string_append_printf(queues, "%s%s", queues->len > 0 ? ", " : "", same ? key_class : queue);
    if (!same && *key_class)
        g_string_append_printf(queues, " (%s", key_class);
    if (*key_class)
        g_string_append_c(queues, ')');
    *last = queue;
}

/* One paragraph for all that are unknown for the same reason. */
static void
print_unknown(JsonArray *keys)
{
    g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < json_array_get_length(keys); i++) {
        const char *explanation = ctl_string(json_array_get_object_element(keys, i), "explanation");
        g_autoptr(GString) queues = g_string_new(NULL);
        g_autofree char *safe = NULL;
        const char *last = NULL;

        if (!*explanation || !g_hash_table_add(told, (gpointer)explanation))
            continue;
        for (guint j = i; j < json_array_get_length(keys); j++) {
            JsonObject *key = json_array_get_object_element(keys, j);

            if (g_str_equal(ctl_string(key, "explanation"), explanation))
                append_unknown(queues, &last, key);
        }
        safe = ctl_escape(explanation);
        printf("\nUnknown: %s\n  Each %s.\n", queues->str, safe);
    }
}

static void
print_contradicted(JsonArray *keys)
{
    for (guint i = 0; i < json_array_get_length(keys); i++) {
        JsonObject *key = json_array_get_object_element(keys, i);
        JsonNode *node = json_object_get_member(key, "contradicted");
        JsonArray *words = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;

        for (guint j = 0; words && j < json_array_get_length(words); j++) {
            const char *word = json_array_get_string_element(words, j);
            g_autofree char *safe = ctl_escape(word ? word : "");

            printf("\nWRONG: %s %s was said to be %s; the card has another key.\n", ctl_string(key, "queue"),
                   ctl_string(key, "class"), safe);
        }
    }
}

static void
print_keys(JsonArray *keys)
{
    g_autoptr(GPtrArray) rows = rows_new();

    for (guint i = 0; i < json_array_get_length(keys); i++) {
        JsonObject *key = json_array_get_object_element(keys, i);

        if (!*ctl_string(key, "explanation"))
            g_ptr_array_add(rows, key_row(key));
    }
    if (rows->len > 0)
        ctl_print_table(key_titles, rows, "");
    else
        puts("No master key is known.");
    print_unknown(keys);
    print_contradicted(keys);
}

static sd_bus_message *
new_keys_call(sd_bus *bus, const char *scope, gboolean fresh, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListKeys", error);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "s", scope), error) ||
        !ctl_bus_check(fresh ? sd_bus_message_append(call, "a{sv}", 1, "fresh", "b", TRUE)
                             : sd_bus_message_append(call, "a{sv}", 0),
                       error))
        return NULL;
    return g_steal_pointer(&call);
}

static const char keys_summary[] =
    "Tells which master keys the AP queues in SCOPE (default: all) have, by their verification patterns, "
    "and\n"
    "how that is known: verified (the card says so), attested (by who can know), declared (by anybody\n"
    "who may) or not at all. Equal patterns are strong evidence of equal keys. The SYM (DES) master key of CCA "
    "is\n"
    "not shown anywhere.";

int
ctl_verb_keys(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    gboolean fresh = FALSE;
    const GOptionEntry entries[] = {
        {"fresh", 0, 0, G_OPTION_ARG_NONE, &fresh,
         "Ask the cards now (default: unless that was a short while ago)", NULL},
        {NULL},
    };
    const CtlUsage usage = {"[SCOPE]", keys_summary, NULL, entries, 0, 1};

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, error);
    g_autoptr(sd_bus_message) call =
        bus ? new_keys_call(bus, argc > 1 ? argv[1] : "all", fresh, error) : NULL;
    g_autoptr(JsonArray) keys = call ? ctl_bus_call_for_list(bus, call, error) : NULL;

    if (!keys)
        return CTL_EXIT_FAILURE;
    if (common.json != CTL_JSON_OFF)
        ctl_print_json(json_node_init_array(json_node_alloc(), keys), common.json);
    else if (json_array_get_length(keys) > 0)
        print_keys(keys);
    else if (!common.quiet)
        puts("This host has no such AP queues.");
    return CTL_EXIT_OK;
}
