/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* apmigd itself, and what it tells of libvirt, queues, keys and locks. */
#include "ctl/doctor.h"

#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/lock.h"
#include "ctl/view.h"
#include "names.h"

#define QUEUES_SHOWN 4

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus_creds, sd_bus_creds_unref)

/* Without apmigd affected guests do not come in, and nobody watches those that leave. */
void
ctl_doctor_tell_no_answer(CtlDoctor *doctor, const GError *error)
{
    ctl_findings_add(doctor->findings,
                     g_error_matches(error, CTL_ERROR, CTL_EXIT_UNREACHABLE) ? APMIG_SEVERITY_ERROR
                                                                             : APMIG_SEVERITY_UNKNOWN,
                     "apmigd", "systemctl status apmigd", "apmigd does not answer: %s.", error->message);
}

static void
check_version(CtlDoctor *doctor)
{
    const char *version = ctl_string(doctor->manager, "Version");

    if (doctor->config && !g_str_equal(version, APMIG_VERSION))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_WARNING, "apmigd", "systemctl restart apmigd",
                         "apmigd %s runs, but %s is installed: it was not restarted.", version,
                         APMIG_VERSION);
    else
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "apmigd", NULL, "apmigd %s runs and answers.",
                         version);
}

static void
check_view(CtlDoctor *doctor)
{
    const char *state = ctl_string(doctor->manager, "HypervisorState");
    const char *problem = ctl_string(doctor->manager, "HypervisorProblem");
    ApmigSeverity severity =
        ctl_bool(doctor->manager, "Locked") ? APMIG_SEVERITY_ERROR : APMIG_SEVERITY_WARNING;

    if (g_str_equal(state, "disconnected"))
        ctl_findings_add(
            doctor->findings, severity, "view", ctl_view_remedy(problem),
            "apmigd does not reach libvirt, migrations are not seen, and no lock can be held: %s.", problem);
    else if (*problem)
        ctl_findings_add(doctor->findings, severity, "view", ctl_view_remedy(problem),
                         "libvirt does not tell apmigd of all guests, and no lock can be held: %s.", problem);
    else
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "view", NULL,
                         "apmigd sees the guests of libvirt: %s.", state);
}

/* A queue that is passed through to a process which is no guest of the libvirt that apmigd sees. */
static gboolean
is_of_a_stranger(JsonObject *queue)
{
    return g_str_equal(ctl_string(queue, "status"), "in use") && ctl_bool(queue, "guest-known") &&
           !*ctl_string(queue, "guest-name");
}

static void
check_queues(CtlDoctor *doctor)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(doctor->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListQueues", &error);
    g_autoptr(JsonArray) queues = call ? ctl_bus_call_for_list(doctor->bus, call, &error) : NULL;
    guint n = queues ? json_array_get_length(queues) : 0, n_strange = 0;
    g_autoptr(GString) strange = g_string_new(NULL);

    if (!queues) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_UNKNOWN, "queues", "apmigctl queues",
                         "The AP queues of this host are not known: %s.", error->message);
        return;
    }
    for (guint i = 0; i < n; i++) {
        JsonObject *queue = json_array_get_object_element(queues, i);

        if (is_of_a_stranger(queue) && n_strange++ < QUEUES_SHOWN)
            g_string_append_printf(strange, "%s%s", strange->len > 0 ? ", " : "", ctl_string(queue, "queue"));
    }
    if (n_strange == 0)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "queues", NULL,
                         "%u AP queues; libvirt knows the guest of each that is in use.", n);
    else
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "queues",
                         "find the QEMU that has the device shown by: apmigctl queues",
                         "%u AP queue%s (%s%s) used by a guest that is not of this libvirt: its migration is "
                         "not seen.",
                         n_strange, n_strange == 1 ? " is" : "s are", strange->str,
                         n_strange > QUEUES_SHOWN ? ", ..." : "");
}

/* Root is answered without it; nobody else is, and polkit cannot be asked. */
static void
check_bus(CtlDoctor *doctor)
{
    if (sd_bus_is_bus_client(doctor->bus) <= 0)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "bus",
                         "systemctl status dbus.socket dbus.service dbus-broker.service",
                         "The system bus cannot be reached: apmigd answers root alone.");
}

/* The user at the other end of a connection without a bus. */
static gint64
read_peer_uid(sd_bus *bus)
{
    g_autoptr(sd_bus_creds) creds = NULL;
    uid_t uid;

    return sd_bus_get_owner_creds(bus, SD_BUS_CREDS_EUID, &creds) >= 0 &&
                   sd_bus_creds_get_euid(creds, &uid) >= 0
               ? (gint64)uid
               : -1;
}

/* The user of the connection that has the name. */
static gint64
read_daemon_uid(sd_bus *bus)
{
    g_autoptr(sd_bus_message) call = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    guint32 uid;
    int r;

    if (sd_bus_is_bus_client(bus) <= 0)
        return read_peer_uid(bus);
    r = sd_bus_message_new_method_call(bus, &call, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                       "org.freedesktop.DBus", "GetConnectionUnixUser");

    if (r >= 0)
        r = sd_bus_message_append(call, "s", APMIG_BUS_NAME);
    if (r >= 0)
        reply = ctl_bus_call(bus, call, CTL_CALL_USEC, NULL, NULL, NULL);
    return reply && sd_bus_message_read(reply, "u", &uid) > 0 ? (gint64)uid : -1;
}

/* --- keys and locks ------------------------------------------------------------------------------ */

static void
check_keys(CtlDoctor *doctor)
{
    const char *trouble = ctl_string(doctor->manager, "KeyTrouble");

    if (*trouble)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_WARNING, "keys", "apmigctl keys", "Keys: %s",
                         trouble);
    else
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "keys", NULL,
                         "Nothing is odd about the master keys that are known.");
}

/* What is wrong with it besides its state. */
static void
check_lock_facts(CtlDoctor *doctor, JsonObject *lock)
{
    const char *id = ctl_string(lock, "Id");
    g_autofree char *departed = ctl_lock_describe_departed(lock);
    g_autofree char *remedy = ctl_lock_departed_remedy(lock);
    g_autofree char *release = g_strdup_printf("apmigctl queues; if it is a slip: apmigctl unlock %s", id);

    if (*departed)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "locks", remedy,
                         "Under lock %s have gone, and nobody saw how: %s.", id, departed);
    if (ctl_lock_covers_nothing(lock))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_WARNING, "locks", release,
                         "Lock %s on %s covers no AP queue of this host and no guest on it.", id,
                         ctl_string(lock, "Scope"));
}

/* What a guest brought stays in its device when its migration fails late. */
static void
check_devices(CtlDoctor *doctor)
{
    const char *trouble = ctl_string(doctor->manager, "DeviceTrouble");

    if (*trouble)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_WARNING, "devices",
                         "start it anew: mdevctl stop --uuid UUID; mdevctl start --uuid UUID", "%s", trouble);
}

/* The id by which others know this host's stamps. */
static void
check_stamps(CtlDoctor *doctor)
{
    const char *trouble = ctl_string(doctor->manager, "StampTrouble");
    const char *id = ctl_string(doctor->manager, "HostId");

    if (*trouble)
        ctl_findings_add(
            doctor->findings, APMIG_SEVERITY_WARNING, "stamps",
            "give each host a machine id of its own: rm /etc/machine-id && systemd-machine-id-setup, and "
            "reboot",
            "Stamps: %s", trouble);
    else if (g_str_equal(ctl_string(doctor->manager, "HostIdBasis"), "machine-id"))
        ctl_findings_add(
            doctor->findings, APMIG_SEVERITY_NONE, "stamps", NULL,
            "This host's id in stamps, %s, rests on /etc/machine-id alone, which clones of its disk share.",
            id);
    else
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "stamps", NULL,
                         "This host's id in stamps is %s.", id);
}

static void
check_lock(CtlDoctor *doctor, JsonObject *lock)
{
    const char *id = ctl_string(lock, "Id"), *state = ctl_string(lock, "State");
    g_autofree char *release = g_strdup_printf("when it is not needed any more: apmigctl unlock %s", id);
    g_autofree char *force =
        g_strdup_printf("when the keys are known to be in step: apmigctl unlock --force %s", id);

    if (g_str_equal(state, "breached"))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "locks",
                         "do not change keys until it is held again: apmigctl migrations",
                         "A migration is in progress under lock %s.", id);
    if (g_str_equal(state, "unproven"))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "locks",
                         "do not change keys until it is held again: systemctl status libvirtd virtqemud",
                         "What goes on under lock %s is not known: %s.", id, ctl_string(lock, "Unproven"));
    if (g_str_equal(state, "permitted"))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_WARNING, "locks",
                         "do not change keys until it is held again: apmigctl migrations",
                         "A permitted migration is in progress under lock %s.", id);
    if (g_str_equal(state, "recovered"))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "locks", force,
                         "Lock %s stands for one that cannot be read.", id);
    if (ctl_bool(lock, "Overdue"))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_WARNING, "locks", release,
                         "Lock %s of %s is overdue.", id, ctl_string(lock, "OwnerName"));
    check_lock_facts(doctor, lock);
}

static void
check_locks(CtlDoctor *doctor)
{
    guint n_before = doctor->findings->len;

    for (guint i = 0; i < doctor->locks->len; i++)
        check_lock(doctor, g_ptr_array_index(doctor->locks, i));
    if (doctor->findings->len == n_before)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "locks", NULL,
                         "No lock is breached, unproven, damaged or overdue.");
}

/* --- all of it ----------------------------------------------------------------------------------- */

static gboolean
ask(CtlDoctor *doctor)
{
    g_autoptr(GError) error = NULL;

    doctor->manager = ctl_bus_get_manager(doctor->bus, &error);
    if (!doctor->manager) {
        ctl_doctor_tell_no_answer(doctor, error);
        return FALSE;
    }
    if (ctl_bus_get_objects(doctor->bus, CTL_CALL_USEC, FALSE, &doctor->locks, &doctor->migrations, &error))
        return TRUE;
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "locks", "journalctl -u apmigd",
                     "apmigd runs, and does not tell of its locks: %s", error->message);
    g_clear_pointer(&doctor->manager, json_object_unref);
    return FALSE;
}

void
ctl_doctor_check_daemon(CtlDoctor *doctor)
{
    doctor->daemon_uid = -1;
    if (!ask(doctor))
        return;
    check_bus(doctor);
    doctor->daemon_uid = read_daemon_uid(doctor->bus);
    check_version(doctor);
    check_view(doctor);
    check_queues(doctor);
    check_keys(doctor);
    check_devices(doctor);
    check_stamps(doctor);
    check_locks(doctor);
}
