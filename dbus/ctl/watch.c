/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that watches locks, and ends when somebody has to look. */
#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/follow.h"
#include "ctl/lock.h"
#include "ctl/options.h"
#include "ctl/permits.h"

#define HAS_LEFT "it has ended or left the bus; what began meanwhile was not seen"

static const char watch_summary[] =
    "Watches LOCK, or all locks of this host, and prints what happens to them as it happens. Exits with 31 "
    "at the\n"
    "first migration under a lock that was held (a breach), with 32 as soon as migrations are not seen, as "
    "apmigd\n"
    "or the hypervisor cannot be reached, or what goes on under a lock is not known (unproven), and with 0 "
    "when\n"
    "LOCK has ended. That a lock is overdue, attempts that were ended in time, and guests that have gone "
    "are printed.";

/* What was last seen of a lock. */
typedef struct {
    char *state;
    gint64 breaches, attempts;
    guint n_departed;
    gboolean overdue;
} Seen;

typedef struct {
    CtlCommon common;
    const char *name;    /* (nullable): of the only lock that is watched, as it was given */
    char *wanted;        /* (nullable): its path, once it is known */
    GHashTable *seen;    /* path -> Seen */
    GHashTable *permits; /* set: what was last seen of permits, see name_permit() */
    gboolean has_read;   /* so that what is there now and was not then is new */
} Watch;

static void
seen_free(gpointer data)
{
    Seen *seen = data;

    g_free(seen->state);
    g_free(seen);
}

static void
watch_clear(Watch *watch)
{
    ctl_common_clear(&watch->common);
    g_free(watch->wanted);
    g_clear_pointer(&watch->seen, g_hash_table_unref);
    g_clear_pointer(&watch->permits, g_hash_table_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Watch, watch_clear)

/* --- telling ------------------------------------------------------------------------------------- */

/* @lock: (nullable): of which it is said */
static void
tell(const Watch *watch, JsonObject *lock, const char *event, const char *message)
{
    gint64 now = g_get_real_time();

    if (watch->common.json != CTL_JSON_OFF) {
        g_autoptr(JsonObject) object = json_object_new();

        json_object_set_int_member(object, "Time", now);
        json_object_set_string_member(object, "Event", event);
        if (lock)
            json_object_set_string_member(object, "Lock", ctl_string(lock, "Id"));
        json_object_set_string_member(object, "Message", message);
        ctl_print_json(json_node_init_object(json_node_alloc(), object), watch->common.json);
    } else {
        g_autofree char *time = ctl_format_time(now);
        g_autofree char *safe = ctl_escape(message);

        printf("%s  %s%s%s: %s\n", time, lock ? "lock " : "", lock ? ctl_string(lock, "Id") : "",
               lock ? "" : "apmigd", safe);
    }
    fflush(stdout); /* somebody may be reading from a pipe */
}

static void
tell_breach(const Watch *watch, JsonObject *lock)
{
    const char *waiting = ctl_string(lock, "Waiting");
    g_autofree char *message =
        *waiting ? g_strdup_printf("BREACHED: %s; do not change keys", waiting)
                 : g_strdup("BREACHED: a migration began under it, and is over; see its end in the journal");

    tell(watch, lock, "breach", message);
}

static void
tell_unproven(const Watch *watch, JsonObject *lock)
{
    g_autofree char *message =
        g_strdup_printf("UNPROVEN: %s; do not change keys", ctl_string(lock, "Unproven"));

    tell(watch, lock, "unproven", message);
}

/* No cause to end: nothing has left, or it is not known to have. */
static void
tell_facts(const Watch *watch, JsonObject *lock, Seen *seen)
{
    gint64 attempts = ctl_int(lock, "Attempts");
    guint n_departed = ctl_lock_n_departed(lock);
    g_autofree char *more = g_strdup_printf("%" G_GINT64_FORMAT " more", attempts - seen->attempts);
    g_autofree char *attempted = g_strdup_printf(
        "attempts: %s, that were ended or refused in time; no memory has left, and the lock is as it was",
        more);
    g_autofree char *departed = ctl_lock_describe_departed(lock);
    g_autofree char *remedy = ctl_lock_departed_remedy(lock);
    g_autofree char *gone =
        g_strdup_printf("GONE, and nobody saw how: %s; do not change keys; %s", departed, remedy);

    if (attempts > seen->attempts && !watch->common.quiet)
        tell(watch, lock, "attempt", attempted);
    if (n_departed > seen->n_departed)
        tell(watch, lock, "departed", gone);
    seen->attempts = attempts;
    seen->n_departed = n_departed;
}

static void
tell_overdue(const Watch *watch, JsonObject *lock)
{
    g_autofree char *expected = ctl_format_duration(ctl_int(lock, "ExpectedDuration"));
    g_autofree char *message =
        g_strdup_printf("overdue: announced for %s; it stays until it is released with: "
                        "apmigctl unlock %s",
                        expected, ctl_string(lock, "Id"));

    tell(watch, lock, "overdue", message);
}

static char *
describe_state(JsonObject *lock)
{
    const char *state = ctl_string(lock, "State");

    if (g_str_equal(state, "ended"))
        return g_strdup_printf("ended: %s: %s", ctl_string(lock, "Result"), ctl_string(lock, "Message"));
    if (g_str_equal(state, "permitted"))
        return g_strdup_printf("permitted: %s; do not change keys until it is held again",
                               ctl_string(lock, "Waiting"));
    return g_strdup_printf("%s, scope %s, of %s: \"%s\"", state, ctl_string(lock, "Scope"),
                           ctl_string(lock, "OwnerName"), ctl_string(lock, "Reason"));
}

/* What is no cause to end; nothing is told of how things were before. */
static void
tell_state(const Watch *watch, JsonObject *lock, gboolean is_first)
{
    const char *state = ctl_string(lock, "State");
    g_autofree char *message = NULL;

    if (watch->common.quiet || (is_first && g_str_equal(state, "ended")))
        return;
    message = describe_state(lock);
    tell(watch, lock, state, message);
}

/* --- permits ------------------------------------------------------------------------------------- */

static char *
name_permit(JsonObject *permit)
{
    return g_strdup_printf("%s %" G_GINT64_FORMAT, ctl_permit_guest(permit), ctl_int(permit, "given-at"));
}

static void
tell_permit(const Watch *watch, JsonObject *permit)
{
    g_autofree char *until = ctl_format_time(ctl_int(permit, "until"));
    g_autofree char *message = g_strdup_printf(
        "guest '%s' may migrate once until %s, says %s: \"%s\"; do not change its keys",
        ctl_permit_guest(permit), until, ctl_string(permit, "owner-name"), ctl_string(permit, "reason"));

    tell(watch, NULL, "permit", message);
}

/* That one is used shows in the state of locks. No cause to end, nor is it when they cannot be read. */
static void
look_at_permits(Watch *watch, sd_bus *bus)
{
    g_autoptr(GPtrArray) permits = ctl_permits_read(bus, NULL);
    GHashTable *now = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; permits && i < permits->len; i++) {
        g_autofree char *name = name_permit(g_ptr_array_index(permits, i));

        if (!watch->common.quiet && (!watch->permits || !g_hash_table_contains(watch->permits, name)))
            tell_permit(watch, g_ptr_array_index(permits, i));
        g_hash_table_add(now, g_steal_pointer(&name));
    }
    g_clear_pointer(&watch->permits, g_hash_table_unref);
    watch->permits = now;
}

/* --- judging ------------------------------------------------------------------------------------- */

/* Returns: an exit status; -1: go on. */
static int
look_at_lock(Watch *watch, JsonObject *lock)
{
    const char *path = ctl_string(lock, "Path"), *state = ctl_string(lock, "State");
    Seen *seen = g_hash_table_lookup(watch->seen, path);
    gboolean is_first = !seen && !watch->has_read;
    gint64 breaches = ctl_int(lock, "Breaches");
    gboolean is_breached = g_str_equal(state, "breached");

    if (!seen) {
        seen = g_new0(Seen, 1);
        seen->breaches = is_first ? breaches : 0;
        seen->attempts = is_first ? ctl_int(lock, "Attempts") : 0;
        g_hash_table_insert(watch->seen, g_strdup(path), seen);
    }
    is_breached = is_breached || breaches > seen->breaches;
    seen->breaches = breaches;
    if (is_breached) {
        tell_breach(watch, lock);
        return CTL_EXIT_BREACHED;
    }
    tell_facts(watch, lock, seen);
    if (g_str_equal(state, "unproven")) {
        tell_unproven(watch, lock);
        return CTL_EXIT_BLIND;
    }
    if (g_strcmp0(seen->state, state) != 0)
        tell_state(watch, lock, is_first);
    g_free(seen->state);
    seen->state = g_strdup(state);
    if (ctl_bool(lock, "Overdue") && !seen->overdue && !g_str_equal(state, "ended"))
        tell_overdue(watch, lock);
    seen->overdue = ctl_bool(lock, "Overdue");
    return watch->wanted && g_str_equal(state, "ended") ? CTL_EXIT_OK : -1;
}

static int
look_at_locks(Watch *watch, GPtrArray *locks)
{
    for (guint i = 0; i < locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(locks, i);
        int status = -1;

        if (!watch->wanted || g_str_equal(watch->wanted, ctl_string(lock, "Path")))
            status = look_at_lock(watch, lock);
        if (status >= 0)
            return status;
    }
    return -1;
}

/* Without a view, what is told of migrations is old. Returns: an exit status; -1: there is one. */
static int
look_at_view(const Watch *watch, const CtlFollow *follow, JsonObject *manager)
{
    if (follow->left) {
        tell(watch, NULL, "view-lost", HAS_LEFT);
        return CTL_EXIT_BLIND;
    }
    if (follow->view_lost || g_str_equal(ctl_string(manager, "HypervisorState"), "disconnected")) {
        tell(watch, NULL, "view-lost", "the hypervisor cannot be reached; migrations are not seen");
        return CTL_EXIT_BLIND;
    }
    return -1;
}

/* A breach is told before that nothing is seen: it is the worse of the two. */
static int
look(CtlFollow *follow, gpointer data, GError **error)
{
    Watch *watch = data;
    g_autoptr(JsonObject) manager = NULL;
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    g_autoptr(GError) problem = NULL;
    int status;

    if (!ctl_follow_read(follow, &manager, &locks, &migrations, &problem)) {
        if (!watch->has_read) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return CTL_EXIT_FAILURE;
        }
        tell(watch, NULL, "view-lost", follow->left ? HAS_LEFT : problem->message);
        return CTL_EXIT_BLIND;
    }
    if (watch->name && !watch->wanted) {
        JsonObject *lock = ctl_find_lock(locks, watch->name, error);

        if (!lock)
            return CTL_EXIT_FAILURE;
        watch->wanted = g_strdup(ctl_string(lock, "Path"));
    }
    look_at_permits(watch, follow->bus);
    status = look_at_locks(watch, locks);
    watch->has_read = TRUE;
    if (status >= 0 && status != CTL_EXIT_BLIND)
        return status;
    return MAX(status, look_at_view(watch, follow, manager));
}

int
ctl_verb_watch(int argc, char **argv, GError **error)
{
    g_auto(Watch) watch = {0};
    const CtlUsage usage = {"[LOCK]", watch_summary, NULL, NULL, 0, 1};

    if (!ctl_parse_options(&argc, &argv, &usage, &watch.common, error))
        return CTL_EXIT_FAILURE;
    watch.name = argc > 1 ? argv[1] : NULL;
    watch.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, seen_free);
    return ctl_follow(watch.common.host, G_MAXINT64, look, &watch, error);
}
