/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The questions to a host that change nothing there. */
#include "hosts/task.h"

#include "hosts/reach.h"
#include "names.h"

/* The daemon reads the hypervisor for a Check, and cards for keys. */
#define CHECK_USEC    (3 * CTL_CALL_USEC)
#define KEYS_USEC     (6 * CTL_CALL_USEC)
#define KEYS_AGE_USEC (G_USEC_PER_SEC + G_USEC_PER_SEC / 10) /* that a "fresh" one may have, see ListKeys */

HostsTask *
hosts_task_new(gint64 silence_usec)
{
    HostsTask *task = g_atomic_rc_box_new0(HostsTask);

    task->silence_usec = silence_usec;
    return task;
}

void
hosts_task_clear(gpointer data)
{
    HostsTask *task = data;

    g_free(task->change_id);
    g_clear_pointer(&task->scope, apmig_scope_unref);
    g_free(task->reason);
    g_free(task->on_busy);
    g_free(task->guest);
}

void
hosts_task_unref(HostsTask *task)
{
    g_atomic_rc_box_release_full(task, hosts_task_clear);
}

void
hosts_task_run(HostsCrew *crew, HostsWork work, HostsTask *task)
{
    hosts_crew_run(crew, work, task, hosts_task_clear, FALSE);
}

/* --- what there is -------------------------------------------------------------------------------- */

static gboolean
read_all(HostsHost *host)
{
    GError *error = NULL;

    g_clear_pointer(&host->lock, json_object_unref);
    g_clear_pointer(&host->verdict, json_object_unref);
    g_clear_pointer(&host->locks, g_ptr_array_unref);
    g_clear_pointer(&host->migrations, g_ptr_array_unref);
    g_clear_pointer(&host->manager, json_object_unref);
    host->manager = ctl_bus_get_manager(host->bus, &error);
    if (host->manager)
        hosts_heard(host);
    if (!host->manager ||
        !ctl_bus_get_objects(host->bus, CTL_CALL_USEC, FALSE, &host->locks, &host->migrations, &error)) {
        hosts_fail_call(host, error);
        return FALSE;
    }
    hosts_heard(host);
    host->received_at = g_get_monotonic_time();
    return TRUE;
}

void
hosts_look(HostsHost *host, gconstpointer data)
{
    const HostsTask *task = data;

    if (hosts_connect(host, task->silence_usec))
        (void)read_all(host);
}

static gboolean
is_in_scope(JsonObject *lock, const HostsTask *task)
{
    g_autoptr(ApmigScope) scope =
        task->scope ? apmig_scope_parse_stored(ctl_string(lock, "Scope"), NULL) : NULL;

    return !task->scope || (scope && apmig_scope_equal(scope, task->scope));
}

JsonObject *
hosts_find_lock(const HostsHost *host, const HostsTask *task, gint64 uid)
{
    for (guint i = 0; host->locks && i < host->locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(host->locks, i);

        if (g_str_equal(ctl_string(lock, "ChangeId"), task->change_id) && is_in_scope(lock, task) &&
            (uid < 0 || ctl_int(lock, "OwnerUid") == uid))
            return lock;
    }
    return NULL;
}

/* --- is it held? ---------------------------------------------------------------------------------- */

/* Returns: (transfer full) (nullable): what Check says of the lock. */
static JsonObject *
check(HostsHost *host, const char *path)
{
    GError *error = NULL;
    g_autoptr(sd_bus_message) call = ctl_bus_new_call(host->bus, path, APMIG_BUS_LOCK, "Check", &error);
    gboolean ok = call && ctl_bus_check(sd_bus_message_append(call, "a{sv}", 0), &error);
    g_autoptr(sd_bus_message) reply = ok ? hosts_call(host, call, CHECK_USEC, NULL, &error) : NULL;
    g_autoptr(JsonNode) node = reply ? ctl_bus_read_json(reply, &error) : NULL;

    if (node && JSON_NODE_HOLDS_OBJECT(node))
        return json_node_dup_object(node);
    if (!error)
        error = g_error_new_literal(CTL_ERROR, CTL_EXIT_FAILURE,
                                    "apmigd's answer is not what its interface says");
    hosts_fail_call(host, error);
    return NULL;
}

/* The state is read after the verdict: what has happened in between is seen. */
void
hosts_ask(HostsHost *host, gconstpointer data)
{
    const HostsTask *task = data;
    g_autoptr(JsonObject) verdict = NULL;
    g_autofree char *path = NULL;
    JsonObject *lock;

    if (!hosts_connect(host, task->silence_usec) || !read_all(host))
        return;
    lock = hosts_find_lock(host, task, -1);
    if (!lock)
        return;
    path = g_strdup(ctl_string(lock, "Path"));
    verdict = check(host, path);
    if (!verdict || !read_all(host))
        return;
    lock = hosts_find_lock(host, task, -1);
    if (!lock || !g_str_equal(ctl_string(lock, "Path"), path))
        return;
    host->lock = json_object_ref(lock);
    host->verdict = g_steal_pointer(&verdict);
}

/* --- keys ----------------------------------------------------------------------------------------- */

/* apmigd asks cards at most once a second, and else tells what they said then. */
static void
let_readings_age(const HostsTask *task)
{
    gint64 wait = task->keys_after + KEYS_AGE_USEC - g_get_monotonic_time();

    if (task->keys_after && wait > 0)
        g_usleep((gulong)wait);
}

static void
read_keys(HostsHost *host, const HostsTask *task)
{
    GError *error = NULL;

    let_readings_age(task);

    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(host->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListKeys", &error);
    const char *scope = task->scope ? apmig_scope_to_string(task->scope) : "all";
    gboolean ok = call && ctl_bus_check(sd_bus_message_append(call, "s", scope), &error) &&
                  ctl_bus_check(sd_bus_message_append(call, "a{sv}", 1, "fresh", "b", TRUE), &error);
    g_autoptr(sd_bus_message) reply = ok ? hosts_call(host, call, KEYS_USEC, NULL, &error) : NULL;
    g_autoptr(JsonNode) node = reply ? ctl_bus_read_json(reply, &error) : NULL;

    g_clear_pointer(&host->keys, json_array_unref);
    if (node && JSON_NODE_HOLDS_ARRAY(node)) {
        host->keys = json_node_dup_array(node);
        return;
    }
    if (!error)
        error = g_error_new_literal(CTL_ERROR, CTL_EXIT_FAILURE, "apmigd's answer is no list");
    hosts_fail_call(host, error);
}

void
hosts_ask_keys(HostsHost *host, gconstpointer data)
{
    const HostsTask *task = data;

    if (hosts_connect(host, task->silence_usec))
        read_keys(host, task);
}

void
hosts_ask_with_keys(HostsHost *host, gconstpointer data)
{
    hosts_ask(host, data);
    if (!host->error)
        read_keys(host, data);
}
