/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "ctl/agent.h"
#include "ctl/ctl.h"
#include "ctl/declare.h"
#include "ctl/format.h"
#include "ctl/lock.h"
#include "names.h"
#include "ctl/options.h"

static const char unlock_summary[] =
    "Releases LOCK, given by its id, the beginning of it, or its object path. A lock that is not held yet\n"
    "is cancelled: its requester is told.\n\n"
    "A pattern is what lszcrypt and the TKE show, as in 04.0012:AES=0x0123456789abcdef; CLASS is AES, APKA,\n"
    "ASYM (of CCA) or WK (of EP11), and in place of a queue any scope may stand: '*.0012:AES=0x...'. What "
    "is\n"
    "declared is kept with your name and the time, before the lock is released: see 'apmigctl keys'.";

/* --- naming ----------------------------------------------------------------------------------- */

JsonObject *
ctl_find_lock(GPtrArray *locks, const char *name, GError **error)
{
    JsonObject *found = NULL;
    guint n_found = 0;

    for (guint i = 0; i < locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(locks, i);
        const char *id = ctl_string(lock, "Id");

        if (g_str_equal(id, name) || g_str_equal(ctl_string(lock, "Path"), name))
            return lock;
        if (*name && g_str_has_prefix(id, name)) {
            found = lock;
            n_found++;
        }
    }
    if (n_found == 1)
        return found;

    g_autofree char *shown = ctl_escape(name);

    if (n_found > 1)
        g_set_error(error, CTL_ERROR, APMIG_EXIT_NOT_FOUND, "%u locks begin with '%s': give more of the id",
                    n_found, shown);
    else
        g_set_error(error, CTL_ERROR, APMIG_EXIT_NOT_FOUND,
                    "there is no lock '%s'; 'apmigctl list' shows them", shown);
    return NULL;
}

/* --- releasing ----------------------------------------------------------------------------------- */

typedef struct {
    CtlCommon common;
    gboolean force;
    char **declare;
    char *declare_from;
    char *declare_class;
    GPtrArray *pairs; /* what both have said: each key "QUEUES CLASS" and after it its pattern */
} UnlockOptions;

static void
unlock_options_clear(UnlockOptions *options)
{
    ctl_common_clear(&options->common);
    g_strfreev(options->declare);
    g_free(options->declare_from);
    g_free(options->declare_class);
    g_clear_pointer(&options->pairs, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(UnlockOptions, unlock_options_clear)

static int
append_declarations(sd_bus_message *call, const GPtrArray *pairs)
{
    int r = sd_bus_message_open_container(call, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(call, "s", "declare-mkvp");
    if (r >= 0)
        r = sd_bus_message_open_container(call, 'v', "a{ss}");
    if (r >= 0)
        r = ctl_bus_append_pairs(call, pairs);
    if (r >= 0)
        r = sd_bus_message_close_container(call);
    return r < 0 ? r : sd_bus_message_close_container(call);
}

/* Absent rather than false, as with every option. */
static int
append_options(sd_bus_message *call, const UnlockOptions *options)
{
    int r = sd_bus_message_open_container(call, 'a', "{sv}");

    if (r >= 0 && options->force)
        r = sd_bus_message_append(call, "{sv}", "force", "b", TRUE);
    if (r >= 0 && options->pairs->len > 0)
        r = append_declarations(call, options->pairs);
    if (r >= 0 && options->declare_class)
        r = sd_bus_message_append(call, "{sv}", "declare-class", "s", options->declare_class);
    return r < 0 ? r : sd_bus_message_close_container(call);
}

static gboolean
release(sd_bus *bus, const char *path, const UnlockOptions *options, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ReleaseLock", error);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "o", path), error) ||
        !ctl_bus_check(append_options(call, options), error))
        return FALSE;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, CTL_STUCK_USEC, NULL, NULL, error);

    return reply != NULL;
}

/* @lock: (nullable) */
static void
print_sentence(JsonObject *lock, const char *property, const char *prefix)
{
    g_autofree char *safe = ctl_escape(lock ? ctl_string(lock, property) : "");

    if (*safe)
        printf("%s%s\n", prefix, safe);
}

/* How it ended, where the daemon still tells. */
static void
print_released(sd_bus *bus, JsonObject *lock, const CtlCommon *common)
{
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    JsonObject *ended = NULL;

    if (common->json == CTL_JSON_OFF && common->quiet)
        return;
    if (ctl_bus_get_objects(bus, CTL_CALL_USEC, TRUE, &locks, &migrations, NULL))
        ended = ctl_find_lock(locks, ctl_string(lock, "Path"), NULL);
    if (common->json != CTL_JSON_OFF) {
        ctl_print_json(json_node_init_object(json_node_alloc(), ended ? ended : lock), common->json);
        return;
    }
    printf("Lock %s is released.\n", ctl_string(lock, "Id"));
    print_sentence(ended, "Unverified", "");
    print_sentence(ended, "Warnings", "Warning: ");
}

static gboolean
parse_unlock_options(int *argc, char ***argv, UnlockOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"force", 0, 0, G_OPTION_ARG_NONE, &options->force,
         "Release also a recovered lock, or when the keys are not in step; needs an authorization of its own",
         NULL},
        {"declare", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->declare,
         "Say which pattern the master key in CUR has, of queues of the lock that this host cannot see; may "
         "be given again",
         "QUEUES:CLASS=PATTERN"},
        {"declare-from", 0, 0, G_OPTION_ARG_FILENAME, &options->declare_from,
         "The same from a file, one a line; # begins a comment", "FILE"},
        {"declare-class", 0, 0, G_OPTION_ARG_STRING, &options->declare_class,
         "How much that counts (default: declared): see 'apmigctl declare'", "declared|attested"},
        {NULL},
    };
    const CtlUsage usage = {"LOCK", unlock_summary, NULL, entries, 1, 1};

    if (!ctl_parse_options(argc, argv, &usage, &options->common, error))
        return FALSE;
    options->pairs = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; options->declare && options->declare[i]; i++)
        if (!ctl_declare_add(options->pairs, options->declare[i], error))
            return FALSE;
    return !options->declare_from || ctl_declare_add_file(options->pairs, options->declare_from, error);
}

int
ctl_verb_unlock(int argc, char **argv, GError **error)
{
    g_auto(UnlockOptions) options = {0};
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!parse_unlock_options(&argc, &argv, &options, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(CtlAgent) agent = NULL;
    g_autoptr(sd_bus) bus = ctl_bus_open_to_change(&options.common, &agent, error);

    if (!bus || !ctl_bus_get_objects(bus, CTL_CALL_USEC, FALSE, &locks, &migrations, error))
        return CTL_EXIT_FAILURE;

    JsonObject *lock = ctl_find_lock(locks, argv[1], error);
    g_autofree char *path = lock ? g_strdup(ctl_string(lock, "Path")) : NULL;

    if (!path || !release(bus, path, &options, error))
        return CTL_EXIT_FAILURE;
    print_released(bus, lock, &options.common);
    return CTL_EXIT_OK;
}
