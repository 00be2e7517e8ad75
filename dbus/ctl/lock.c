/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/lock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/agent.h"
#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "names.h"
#include "ctl/options.h"

/* What a call may take beyond the lock's own deadline: a password for polkit, and the way there and back. */
#define MARGIN_USEC   (60 * G_USEC_PER_SEC)
#define PROGRESS_USEC (2 * G_USEC_PER_SEC)

typedef struct {
    CtlCommon common;
    char *on_busy;
    char *timeout;
    char *expected;
    char *change_id;
    gboolean no_wait;
    gboolean allow_missing_hook;
    gboolean progress;
    gboolean rehearse;
    gint64 timeout_usec;
    gint64 expected_usec;
} LockOptions;

static void
lock_options_clear(LockOptions *options)
{
    ctl_common_clear(&options->common);
    g_free(options->on_busy);
    g_free(options->timeout);
    g_free(options->expected);
    g_free(options->change_id);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LockOptions, lock_options_clear)

static const char lock_summary[] =
    "Asks apmigd for a lock on the queues in SCOPE and waits until it is held: no migration of a guest\n"
    "with such queues is then in progress on this host, and none may come in until 'apmigctl unlock'.\n\n"
    "SCOPE is 'all', or a comma-separated list of ADAPTER.DOMAIN in hexadecimal, each a number, a range or "
    "*:\n"
    "04.0012  '*.0012'  04-07.0010-001f. REASON is what others read when they are refused; quote it.\n"
    "Until the lock is held, ending this command takes the request back. Afterwards the lock stays,\n"
    "also over restarts of apmigd and of the host, until it is released.";

static gboolean
parse_lock_options(int *argc, char ***argv, LockOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"on-busy", 0, 0, G_OPTION_ARG_STRING, &options->on_busy,
         "With a migration in progress: end it, wait for it, or refuse the lock (default: the policy's "
         "choice)",
         "abort|wait|refuse"},
        {"timeout", 0, 0, G_OPTION_ARG_STRING, &options->timeout,
         "Give up when the lock is not held after TIME, such as 90s or 20min (default: the policy's)",
         "TIME"},
        {"for", 0, 0, G_OPTION_ARG_STRING, &options->expected,
         "How long it will be needed, such as 3h or 2d: shown to others; the lock never ends by itself",
         "TIME"},
        {"change-id", 0, 0, G_OPTION_ARG_STRING, &options->change_id,
         "The number of the change, for the records", "ID"},
        {"no-wait", 0, 0, G_OPTION_ARG_NONE, &options->no_wait,
         "Return at once: the lock is then draining, not held", NULL},
        {"allow-missing-hook", 0, 0, G_OPTION_ARG_NONE, &options->allow_missing_hook,
         "Lock although nothing keeps guests from coming in on this host", NULL},
        {"rehearse", 0, 0, G_OPTION_ARG_NONE, &options->rehearse,
         "Take no lock: only tell what it would do about the migrations in progress", NULL},
        {"progress", 0, 0, G_OPTION_ARG_NONE, &options->progress,
         "Tell every second what is waited for (default: on a terminal)", NULL},
        {NULL},
    };
    const CtlUsage usage = {"SCOPE REASON", lock_summary, NULL, entries, 2, 2};

    if (!ctl_parse_options(argc, argv, &usage, &options->common, error))
        return FALSE;
    if (options->timeout && !ctl_parse_duration(options->timeout, &options->timeout_usec, error))
        return FALSE;
    if (options->expected && !ctl_parse_duration(options->expected, &options->expected_usec, error))
        return FALSE;
    options->progress = options->progress || (isatty(STDERR_FILENO) && !options->common.quiet);
    return TRUE;
}

/* --- taking -------------------------------------------------------------------------------------- */

static int
append_options(sd_bus_message *call, const LockOptions *options)
{
    int r = sd_bus_message_open_container(call, 'a', "{sv}");

    if (r >= 0 && options->on_busy)
        r = sd_bus_message_append(call, "{sv}", "on-busy", "s", options->on_busy);
    if (r >= 0 && options->timeout)
        r = sd_bus_message_append(call, "{sv}", "timeout-usec", "t", (uint64_t)options->timeout_usec);
    if (r >= 0 && options->expected)
        r = sd_bus_message_append(call, "{sv}", "expected-duration-usec", "t",
                                  (uint64_t)options->expected_usec);
    if (r >= 0 && options->change_id)
        r = sd_bus_message_append(call, "{sv}", "change-id", "s", options->change_id);
    if (r >= 0 && options->no_wait)
        r = sd_bus_message_append(call, "{sv}", "no-wait", "b", TRUE);
    if (r >= 0 && options->allow_missing_hook)
        r = sd_bus_message_append(call, "{sv}", "allow-missing-hook", "b", TRUE);
    return r < 0 ? r : sd_bus_message_close_container(call);
}

/* What is needed while TakeLock has not answered. */
typedef struct {
    sd_bus *bus;
    const char *reason;
    const char *change_id; /* (nullable) */
    gint64 begun;          /* monotonic */
    gint64 begun_realtime; /* to tell our lock from older ones */
    gboolean terminal;
} Progress;

static const char *
find_guest(GPtrArray *migrations, const char *path, gint64 *ret_left)
{
    for (guint i = 0; i < migrations->len; i++) {
        JsonObject *migration = g_ptr_array_index(migrations, i);

        if (g_str_equal(ctl_string(migration, "Path"), path)) {
            JsonNode *node = json_object_get_member(migration, "Progress");

            *ret_left = node && JSON_NODE_HOLDS_OBJECT(node)
                            ? ctl_int(json_node_get_object(node), "data-remaining")
                            : 0;
            return ctl_string(migration, "Guest");
        }
    }
    return NULL;
}

/* Returns: (transfer full): "g7: 412.0 MiB left, g8", from the lock's blockers; else what the daemon says. */
static char *
describe_wait(JsonObject *lock, GPtrArray *migrations)
{
    JsonNode *node = json_object_get_member(lock, "Blockers");
    JsonArray *blockers = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    GString *text = g_string_new(NULL);

    for (guint i = 0; blockers && i < json_array_get_length(blockers); i++) {
        const char *path = json_array_get_string_element(blockers, i);
        gint64 left = 0;
        const char *guest = path ? find_guest(migrations, path, &left) : NULL;

        if (!guest)
            continue;
        g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", guest);
        if (left > 0) {
            g_autofree char *size = g_format_size_full((guint64)left, G_FORMAT_SIZE_IEC_UNITS);

            g_string_append_printf(text, ": %s left", size);
        }
    }
    if (text->len == 0)
        g_string_append(text, ctl_string(lock, "Waiting"));
    return g_string_free(text, FALSE);
}

/* The lock that our pending request waits for: ours, with our reason, not held, and asked for since we began or for our change. */
static JsonObject *
find_own_request(GPtrArray *locks, const Progress *progress)
{
    for (guint i = locks->len; i > 0; i--) {
        JsonObject *lock = g_ptr_array_index(locks, i - 1);

        if (ctl_int(lock, "OwnerUid") == (gint64)getuid() && ctl_int(lock, "HeldAt") == 0 &&
            (ctl_int(lock, "RequestedAt") >= progress->begun_realtime ||
             g_strcmp0(ctl_string(lock, "ChangeId"), progress->change_id) == 0) &&
            g_str_equal(ctl_string(lock, "Reason"), progress->reason))
            return lock;
    }
    return NULL;
}

static void
show_progress(gpointer user_data)
{
    const Progress *progress = user_data;
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *what = NULL;
    gint64 seconds = (g_get_monotonic_time() - progress->begun) / G_USEC_PER_SEC;

    if (!ctl_bus_get_objects(progress->bus, PROGRESS_USEC, FALSE, &locks, &migrations, &error)) {
        what = g_strdup_printf("apmigd (%s)", error->message);
    } else {
        JsonObject *lock = find_own_request(locks, progress);

        what = lock ? describe_wait(lock, migrations) : g_strdup("");
    }
    if (!*what) {
        g_free(what);
        what = g_strdup("apmigd");
    }

    g_autofree char *safe = ctl_escape(what);

    fprintf(stderr, "%swaiting for %s, %" G_GINT64_FORMAT " s%s", progress->terminal ? "\r" : "", safe,
            seconds, progress->terminal ? "\033[K" : "\n");
}

/* Returns: (transfer full): the lock's object path. */
static char *
take(sd_bus *bus, const char *scope, const char *reason, const LockOptions *options, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "TakeLock", error);
    gint64 limit = options->timeout ? options->timeout_usec + MARGIN_USEC : CTL_STUCK_USEC;
    Progress progress = {
        bus, reason, options->change_id, g_get_monotonic_time(), g_get_real_time(), isatty(STDERR_FILENO)};
    const char *path;

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "ss", scope, reason), error) ||
        !ctl_bus_check(append_options(call, options), error))
        return NULL;
    if (options->progress && !options->no_wait)
        fputs("Waiting until the lock is held; Ctrl-C leaves and takes the request back.\n", stderr);

    g_autoptr(sd_bus_message) reply =
        ctl_bus_call(bus, call, limit, options->progress ? show_progress : NULL, &progress, error);

    if (options->progress && progress.terminal)
        fputs("\r\033[K", stderr);
    if (!reply || !ctl_bus_check(sd_bus_message_read(reply, "o", &path), error))
        return NULL;
    return g_strdup(path);
}

/* --- rehearsing ---------------------------------------------------------------------------------- */

/* Returns: (transfer full): "libvirt-abort, vfio-state". */
static char *
join_steps(JsonObject *migration)
{
    JsonNode *node = json_object_get_member(migration, "steps");
    JsonArray *steps = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    GString *text = g_string_new(NULL);

    for (guint i = 0; steps && i < json_array_get_length(steps); i++)
        g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", json_array_get_string_element(steps, i));
    return g_string_free(text, FALSE);
}

static void
print_rehearsed(JsonObject *migration)
{
    const char *treatment = ctl_string(migration, "treatment");
    const char *direction = g_str_equal(ctl_string(migration, "direction"), "out") ? "leaving" : "coming in";
    g_autofree char *guest = ctl_escape(ctl_string(migration, "guest"));
    g_autofree char *explanation = ctl_escape(ctl_string(migration, "explanation"));
    g_autofree char *steps = join_steps(migration);

    if (g_str_equal(treatment, "end"))
        printf("  guest '%s' is %s: this would be ended with %s\n", guest, direction, steps);
    else if (g_str_equal(treatment, "refuse"))
        printf("  guest '%s' is %s: the request would be refused\n", guest, direction);
    else
        printf("  guest '%s' is %s: its end would be waited for%s%s\n", guest, direction,
               *explanation ? ": " : "", explanation);
}

static void
print_rehearsal_text(const char *scope, gboolean possible, const char *why_not, JsonArray *migrations)
{
    g_autofree char *safe_scope = ctl_escape(scope);
    g_autofree char *safe_reason = ctl_escape(why_not);
    guint n = json_array_get_length(migrations);

    printf("Rehearsal: no lock was taken on %s, and nothing was ended.\n", safe_scope);
    if (n == 0)
        puts("  no migration of an affected guest is in progress");
    for (guint i = 0; i < n; i++)
        print_rehearsed(json_array_get_object_element(migrations, i));
    if (!possible)
        printf("No lock would come of it: %s.\n", safe_reason);
}

static void
print_rehearsal_json(gboolean possible, const char *why_not, JsonNode *migrations, CtlJson json)
{
    g_autoptr(JsonObject) object = json_object_new();

    json_object_set_boolean_member(object, "Possible", possible);
    json_object_set_string_member(object, "WhyNot", why_not);
    json_object_set_member(object, "Migrations", json_node_copy(migrations));
    ctl_print_json(json_node_init_object(json_node_alloc(), object), json);
}

/* @reply: of RehearseLock, unread. Returns: an exit status: whether a lock would come of it. */
static int
print_rehearsal(sd_bus_message *reply, const char *scope, const CtlCommon *common, GError **error)
{
    g_autoptr(JsonNode) migrations = NULL;
    const char *why_not;
    int possible;

    if (!ctl_bus_check(sd_bus_message_read(reply, "bs", &possible, &why_not), error))
        return CTL_EXIT_FAILURE;
    migrations = ctl_bus_read_json(reply, error);
    if (!migrations)
        return CTL_EXIT_FAILURE;
    if (common->json != CTL_JSON_OFF)
        print_rehearsal_json(possible, why_not, migrations, common->json);
    else if (!common->quiet)
        print_rehearsal_text(scope, possible, why_not, json_node_get_array(migrations));
    return possible ? CTL_EXIT_OK : APMIG_EXIT_BUSY;
}

static int
rehearse(sd_bus *bus, const char *scope, const char *reason, const LockOptions *options, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "RehearseLock", error);
    gint64 limit = options->timeout ? options->timeout_usec + MARGIN_USEC : CTL_STUCK_USEC;

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "ss", scope, reason), error) ||
        !ctl_bus_check(append_options(call, options), error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, limit, NULL, NULL, error);

    return reply ? print_rehearsal(reply, scope, &options->common, error) : CTL_EXIT_FAILURE;
}

/* --- the verb ------------------------------------------------------------------------------------ */

static void
warn_of_coverage(JsonObject *lock)
{
    g_autofree char *scope = ctl_escape(ctl_string(lock, "Scope"));

    if (ctl_lock_covers_nothing(lock))
        fprintf(stderr,
                "apmigctl: Warning: lock %s on %s covers no AP queue of this host and no guest on it: is the "
                "scope as it was meant? See: apmigctl queues\n",
                ctl_string(lock, "Id"), scope);
}

static void
print_taken(JsonObject *lock, const CtlCommon *common)
{
    const char *id = ctl_string(lock, "Id");
    g_autofree char *scope = ctl_escape(ctl_string(lock, "Scope"));
    g_autofree char *waiting = ctl_escape(ctl_string(lock, "Waiting"));

    if (common->json != CTL_JSON_OFF) {
        ctl_print_json(json_node_init_object(json_node_alloc(), lock), common->json);
        return;
    }
    if (common->quiet) {
        puts(id);
        return;
    }
    printf("Lock %s on %s is %s.\n", id, scope, ctl_string(lock, "State"));
    if (*waiting)
        printf("  waiting:  %s\n", waiting);
    printf("  check:    apmigctl list %s\n"
           "  release:  apmigctl unlock %s\n",
           id, id);
}

int
ctl_verb_lock(int argc, char **argv, GError **error)
{
    g_auto(LockOptions) options = {0};

    if (!parse_lock_options(&argc, &argv, &options, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(CtlAgent) agent = NULL;
    g_autoptr(sd_bus) bus = ctl_bus_open_to_change(&options.common, &agent, error);

    if (bus && options.rehearse)
        return rehearse(bus, argv[1], argv[2], &options, error);

    g_autofree char *path = bus ? take(bus, argv[1], argv[2], &options, error) : NULL;
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!path)
        return CTL_EXIT_FAILURE;
    if (!ctl_bus_get_objects(bus, CTL_CALL_USEC, FALSE, &locks, &migrations, error)) {
        g_prefix_error(error, "%s is taken, but its state cannot be read: ", path);
        return CTL_EXIT_FAILURE;
    }

    JsonObject *lock = ctl_find_lock(locks, path, error);

    if (!lock)
        return CTL_EXIT_FAILURE;
    warn_of_coverage(lock);
    print_taken(lock, &options.common);
    return CTL_EXIT_OK;
}
