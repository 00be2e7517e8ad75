/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/locks.h"

#include <errno.h>

#include "ctl/lock.h"
#include "hosts/reach.h"
#include "names.h"

/* What a call may take beyond the lock's own deadline. */
#define MARGIN_USEC (15 * G_USEC_PER_SEC)
#define TICK_USEC   (2 * G_USEC_PER_SEC)
/* No signal tells what a lock waits for: it is looked at so often. */
#define LOOK_USEC G_USEC_PER_SEC

/* --- is it free? ---------------------------------------------------------------------------------- */

/* One that apmigd took by itself goes over to whoever asks for its very scope. */
static gboolean
is_in_the_way(JsonObject *lock, const HostsTask *task)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse_stored(ctl_string(lock, "Scope"), NULL);

    if (scope && g_str_equal(ctl_string(lock, "Origin"), "itself") && apmig_scope_equal(scope, task->scope))
        return FALSE;
    return !scope || apmig_scope_overlaps(scope, task->scope);
}

void
hosts_look_whether_free(HostsHost *host, gconstpointer data)
{
    const HostsTask *task = data;
    JsonObject *own;

    hosts_look(host, data);
    own = host->error ? NULL : hosts_find_lock(host, task, host->uid);
    for (guint i = 0; !host->error && i < host->locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(host->locks, i);
        g_autofree char *since = ctl_format_time(ctl_int(lock, "RequestedAt"));

        if (lock == own || !is_in_the_way(lock, task))
            continue;
        hosts_fail(host, g_error_new(CTL_ERROR, APMIG_EXIT_LOCKED,
                                     "lock %s of %s on %s is in the way, since %s: \"%s\"",
                                     ctl_string(lock, "Id"), ctl_string(lock, "OwnerName"),
                                     ctl_string(lock, "Scope"), since, ctl_string(lock, "Reason")));
    }
    if (own)
        host->lock = json_object_ref(own);
}

/* --- taking --------------------------------------------------------------------------------------- */

/* Tells what its request waits for; the others may begin now, for nobody else gets this host any more. */
static void
tell_draining(gpointer data)
{
    HostsHost *host = data;
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!ctl_bus_get_objects(host->bus, TICK_USEC, FALSE, &locks, &migrations, NULL))
        return;
    hosts_heard(host);
    for (guint i = 0; i < locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(locks, i);
        const char *waiting = ctl_string(lock, "Waiting");

        if (ctl_int(lock, "OwnerUid") != host->uid || ctl_int(lock, "HeldAt") != 0)
            continue;
        hosts_place(host);
        if (*waiting)
            hosts_say(host, g_strdup_printf("%s: %s", ctl_string(lock, "State"), waiting));
    }
}

static int
on_added(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    const char *path;

    if (sd_bus_message_read(message, "o", &path) >= 0 && g_str_has_prefix(path, APMIG_BUS_LOCK_PREFIX "/"))
        hosts_place(user_data);
    return 0;
}

/* Without the signal the others begin a second later. */
static int
on_match(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    return 0;
}

static int
append_options(sd_bus_message *call, const HostsTask *task)
{
    int r = sd_bus_message_open_container(call, 'a', "{sv}");

    if (r >= 0)
        r = sd_bus_message_append(call, "{sv}", "change-id", "s", task->change_id);
    /* What this run is given it has made, and may release again. */
    if (r >= 0)
        r = sd_bus_message_append(call, "{sv}", "only-new", "b", TRUE);
    if (r >= 0 && task->on_busy)
        r = sd_bus_message_append(call, "{sv}", "on-busy", "s", task->on_busy);
    if (r >= 0 && !task->no_wait)
        r = sd_bus_message_append(call, "{sv}", "timeout-usec", "t", (uint64_t)task->timeout_usec);
    if (r >= 0 && task->expected_usec)
        r = sd_bus_message_append(call, "{sv}", "expected-duration-usec", "t", (uint64_t)task->expected_usec);
    if (r >= 0 && task->no_wait)
        r = sd_bus_message_append(call, "{sv}", "no-wait", "b", TRUE);
    if (r >= 0 && task->allow_missing_hook)
        r = sd_bus_message_append(call, "{sv}", "allow-missing-hook", "b", TRUE);
    return r < 0 ? r : sd_bus_message_close_container(call);
}

/* Returns: (transfer full) (nullable): the path of the lock. */
static char *
call_take(HostsHost *host, const HostsTask *task, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(host->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "TakeLock", error);
    const char *scope = apmig_scope_to_string(task->scope), *path;
    gint64 limit = task->timeout_usec + MARGIN_USEC;
    sd_bus_slot *slot = NULL;

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "ss", scope, task->reason), error) ||
        !ctl_bus_check(append_options(call, task), error))
        return NULL;
    (void)sd_bus_match_signal_async(host->bus, &slot, APMIG_BUS_NAME, APMIG_BUS_PATH,
                                    "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", on_added,
                                    on_match, host);

    g_autoptr(sd_bus_message) reply = hosts_call(host, call, limit, tell_draining, error);

    sd_bus_slot_unref(slot);

    if (!reply || !ctl_bus_check(sd_bus_message_read(reply, "o", &path), error))
        return NULL;
    return g_strdup(path);
}

static gboolean
was_there(const HostsHost *host, const char *path)
{
    for (guint i = 0; i < host->locks->len; i++)
        if (g_str_equal(ctl_string(g_ptr_array_index(host->locks, i), "Path"), path))
            return TRUE;
    return FALSE;
}

/* Returns: (transfer none) (nullable): the lock of that path, read anew. */
static JsonObject *
look_again(HostsHost *host, const HostsTask *task)
{
    JsonObject *lock;

    hosts_look(host, task);
    lock = host->error ? NULL : hosts_find_lock(host, task, host->uid);
    if (lock)
        host->lock = json_object_ref(lock);
    return lock;
}

/* By its state: HeldAt is there before the disk has it. One that was held once, and is breached say, is not waited for. */
static gboolean
is_yet_to_be_held(JsonObject *lock)
{
    const char *state = ctl_string(lock, "State");

    return g_str_equal(state, "requested") || g_str_equal(state, "draining");
}

/* What an earlier run of the same change has asked for is waited for as its own request is. */
static void
await_held(HostsHost *host, const HostsTask *task)
{
    gint64 deadline = g_get_monotonic_time() + task->timeout_usec;
    JsonObject *lock;

    hosts_subscribe(host);
    lock = look_again(host, task);
    hosts_place(host);
    while (lock && !task->no_wait && is_yet_to_be_held(lock)) {
        const char *waiting = ctl_string(lock, "Waiting");

        if (g_get_monotonic_time() > deadline) {
            hosts_fail(host, g_error_new(CTL_ERROR, APMIG_EXIT_TIMEOUT,
                                         "lock %s of an earlier run is not held yet, it waits for %s",
                                         ctl_string(lock, "Id"), *waiting ? waiting : "apmigd"));
            return;
        }
        hosts_say(host, g_strdup_printf("%s, by an earlier run: %s", ctl_string(lock, "State"), waiting));
        hosts_await_change(host, MIN(deadline, g_get_monotonic_time() + LOOK_USEC));
        lock = look_again(host, task);
    }
    if (!lock && !host->error)
        hosts_fail(host, g_error_new_literal(CTL_ERROR, APMIG_EXIT_NOT_FOUND,
                                             "the lock of an earlier run was there, and has ended meanwhile: "
                                             "run this once more"));
}

void
hosts_take(HostsHost *host, gconstpointer data)
{
    const HostsTask *task = data;
    g_autofree char *path = NULL;
    GError *error = NULL;

    if (host->lock) {
        await_held(host, task);
        if (!host->error)
            hosts_say(host, g_strdup_printf("%s, by an earlier run", ctl_string(host->lock, "State")));
        return;
    }
    path = call_take(host, task, &error);
    if (path) {
        host->made = !was_there(host, path);
        if (look_again(host, task))
            hosts_say(host, g_strdup(ctl_string(host->lock, "State")));
        return;
    }
    /* Two runs of one change have met: the lock is theirs, and this one has not made it. */
    if (error->code == APMIG_EXIT_LOCKED && look_again(host, task)) {
        g_error_free(error);
        await_held(host, task);
        return;
    }
    hosts_fail_call(host, error);
}

/* --- releasing ------------------------------------------------------------------------------------ */

static void
call_release(HostsHost *host, const char *path, gboolean force)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(host->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ReleaseLock", &host->release_error);
    int r = call ? sd_bus_message_append(call, "o", path) : 0;

    if (call && r >= 0)
        r = force ? sd_bus_message_append(call, "a{sv}", 1, "force", "b", TRUE)
                  : sd_bus_message_append(call, "a{sv}", 0);
    if (!call || !ctl_bus_check(r, &host->release_error))
        return;

    g_autoptr(sd_bus_message) reply = hosts_call(host, call, CTL_STUCK_USEC, NULL, &host->release_error);

    host->released = reply != NULL;
    hosts_say(host, host->released ? g_strdup("released")
                                   : g_strdup_printf("not released: %s", host->release_error->message));
}

void
hosts_release(HostsHost *host, gconstpointer data)
{
    const HostsTask *task = data;

    if (host->lock)
        call_release(host, ctl_string(host->lock, "Path"), task->force);
}

void
hosts_undo(HostsHost *host, gconstpointer data)
{
    if (host->made && host->lock)
        call_release(host, ctl_string(host->lock, "Path"), FALSE);
}
