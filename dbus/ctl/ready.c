/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that says whether keys may be changed now. */
#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/lock.h"
#include "names.h"
#include "ctl/options.h"
#include "ctl/view.h"

static const char ready_summary[] =
    "Has apmigd read the hypervisor anew, and says GO when LOCK (without it: every lock of this host) is held\n"
    "and no migration of an affected guest was found: then the keys may be changed. Else it says NO-GO and why,\n"
    "and exits with 33; or with 9 when the hypervisor did not answer in time, which proves nothing.";

typedef struct {
    CtlCommon common;
    char *timeout;
    gint64 timeout_usec; /* 0: apmigd's own */
} ReadyOptions;

static void
ready_options_clear(ReadyOptions *options)
{
    g_free(options->timeout);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ReadyOptions, ready_options_clear)

/* Returns: (transfer full) (nullable): the verdict, with the path of the lock as "lock". */
static JsonObject *
check_lock(sd_bus *bus, const char *path, gint64 timeout_usec, GError **error)
{
    g_autoptr(sd_bus_message) call = ctl_bus_new_call(bus, path, APMIG_BUS_LOCK, "Check", error);
    gint64 limit = CTL_CALL_USEC + (timeout_usec ? timeout_usec : CTL_CALL_USEC);
    int r = 0;

    if (call)
        r = timeout_usec
                ? sd_bus_message_append(call, "a{sv}", 1, "timeout-usec", "t", (uint64_t)timeout_usec)
                : sd_bus_message_append(call, "a{sv}", 0);
    if (!call || !ctl_bus_check(r, error))
        return NULL;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, limit, NULL, NULL, error);
    g_autoptr(JsonNode) node = reply ? ctl_bus_read_json(reply, error) : NULL;
    JsonObject *verdict = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_dup_object(node) : NULL;

    if (verdict)
        json_object_set_string_member(verdict, "lock", path);
    return verdict;
}

static void
print_verdict(JsonObject *lock, JsonObject *verdict)
{
    g_autofree char *time = ctl_format_time(ctl_int(verdict, "read-at"));
    g_autofree char *reason = ctl_escape(ctl_string(verdict, "reason"));
    g_autofree char *warning = ctl_escape(ctl_string(verdict, "warning"));
    g_autofree char *scope = ctl_escape(ctl_string(lock, "Scope"));

    if (ctl_bool(verdict, "ready"))
        printf("GO: lock %s on %s is held, and no migration was found after %s.\n", ctl_string(lock, "Id"),
               scope, time);
    else
        printf("NO-GO: %s (read after %s).\n", reason, time);
    if (*warning)
        printf("Warning: %s\n", warning);
}

/* Returns: whether all are; FALSE with @error when one could not be asked about. */
static gboolean
check_locks(sd_bus *bus, GPtrArray *locks, const ReadyOptions *options, JsonArray *verdicts, GError **error)
{
    gboolean ready = TRUE;

    for (guint i = 0; i < locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(locks, i);
        JsonObject *verdict = check_lock(bus, ctl_string(lock, "Path"), options->timeout_usec, error);

        if (!verdict)
            return FALSE;
        ready = ready && ctl_bool(verdict, "ready");
        if (options->common.json == CTL_JSON_OFF && !options->common.quiet)
            print_verdict(lock, verdict);
        json_array_add_object_element(verdicts, verdict);
    }
    return ready;
}

/* Where it is libvirt that is not seen. */
static void
print_remedy(sd_bus *bus)
{
    g_autoptr(JsonObject) manager = ctl_bus_get_manager(bus, NULL);
    const char *problem = manager ? ctl_string(manager, "HypervisorProblem") : "";

    if (*problem)
        fprintf(stderr, "What to do: %s\n", ctl_view_remedy(problem));
}

static int
judge(sd_bus *bus, GPtrArray *locks, const ReadyOptions *options, GError **error)
{
    g_autoptr(JsonArray) verdicts = json_array_new();
    GError *problem = NULL;
    gboolean ready = check_locks(bus, locks, options, verdicts, &problem);

    if (!ready && !options->common.quiet)
        print_remedy(bus);
    if (problem) {
        g_propagate_prefixed_error(error, problem, "NO-GO: ");
        return CTL_EXIT_FAILURE;
    }
    if (options->common.json != CTL_JSON_OFF)
        ctl_print_json(json_node_init_array(json_node_alloc(), verdicts), options->common.json);
    else if (locks->len == 0 && !options->common.quiet)
        puts("NO-GO: there is no lock.");
    return ready && locks->len > 0 ? CTL_EXIT_OK : CTL_EXIT_NO_GO;
}

static gboolean
parse_ready_options(int *argc, char ***argv, ReadyOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"timeout", 0, 0, G_OPTION_ARG_STRING, &options->timeout,
         "How long the hypervisor may take, 5min at most (default: 10s)", "TIME"},
        {NULL},
    };
    const CtlUsage usage = {"[LOCK]", ready_summary, NULL, entries, 0, 1};

    return ctl_parse_options(argc, argv, &usage, &options->common, error) &&
           (!options->timeout || ctl_parse_duration(options->timeout, &options->timeout_usec, error));
}

int
ctl_verb_ready(int argc, char **argv, GError **error)
{
    g_auto(ReadyOptions) options = {0};
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!parse_ready_options(&argc, &argv, &options, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&options.common, error);

    if (!bus || !ctl_bus_get_objects(bus, CTL_CALL_USEC, FALSE, &locks, &migrations, error))
        return CTL_EXIT_FAILURE;
    if (argc > 1) {
        JsonObject *only = ctl_find_lock(locks, argv[1], error);

        if (!only)
            return CTL_EXIT_FAILURE;
        json_object_ref(only);
        g_ptr_array_set_size(locks, 0);
        g_ptr_array_add(locks, only);
    }
    return judge(bus, locks, &options, error);
}
