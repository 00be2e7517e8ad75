/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core's side of guests that come in. What they bring is compared with what this host has now, so that is read
 * before the engine judges them; all that come meanwhile wait for the same reading. Locks are looked at after it.
 */
#include "core/private.h"

#include "base/boot-time.h"

/* The hook waits for the answer, for a second at least ([Hook] Timeout=), and libvirt for the hook. */
#define ARRIVAL_LIMIT_USEC (G_USEC_PER_SEC / 10 * 8)
/* For whether the hardware fits. Which device is free is a matter of now. */
#define FRESH_USEC (3 * G_USEC_PER_SEC)

typedef struct {
    ApmigCaller caller;
    ApmigGuest *guest;
} Arrival;

static void
arrival_free(gpointer data)
{
    Arrival *arrival = data;

    apmig_guest_free(arrival->guest);
    g_free(arrival);
}

void
core_expect_arrivals(ApmigCore *core)
{
    core->arrivals = g_ptr_array_new_with_free_func(arrival_free);
}

/* --- the engine's event -------------------------------------------------------------------------- */

static gboolean
has_ap_device(const ApmigGuest *guest)
{
    return guest->n_ap_devices > 0 || guest->has_unnamed;
}

/* Of several it is not known which one gets the source's configuration. One of another model is one of vfio-ap where its
 * source says so. */
static const char *
find_device(const ApmigGuest *guest)
{
    const char *stamped = guest->stamp ? guest->stamp->device : NULL;

    if (has_ap_device(guest))
        return guest->n_ap_devices == 1 && !guest->has_unnamed ? guest->devices[0] : NULL;
    return stamped && g_strv_contains((const char *const *)guest->devices, stamped) ? stamped : NULL;
}

ApmigArrival
core_describe_arrival(const ApmigCore *core, const ApmigGuest *guest)
{
    ApmigArrival arrival = {
        .has_device = has_ap_device(guest),
        .device = find_device(guest),
        .declared = guest->declared,
        .stamp = guest->stamp,
        .stamp_problem = guest->stamp_problem,
        .host_id = core->identity->id,
    };

    arrival.evidence = core_host_facts(core, &arrival.host);
    return arrival;
}

/* A stamp under this host's id, which a clone can have too, that tells of a lock which is none of this host's. */
static void
note_shared_id(ApmigCore *core, const ApmigGuest *guest)
{
    const ApmigStamp *stamp = guest->stamp;

    if (!stamp || !stamp->lock || g_str_equal(core->identity->basis, "hardware") ||
        g_strcmp0(stamp->host_id, core->identity->id) != 0 ||
        apmig_engine_lookup_lock(core->engine, stamp->lock->id))
        return;
    g_free(core->stamp_trouble);
    core->stamp_trouble = g_strdup_printf(
        "Guest %s came with a stamp that has this host's id, %s, and names lock %s, which this host "
        "does not know: another host has the same id.",
        guest->name, stamp->host_id, stamp->lock->id);
}

/* @in_use: (nullable): as of ApmigArrival */
static void
judge(ApmigCore *core, ApmigCaller caller, const ApmigGuest *guest, gboolean restore,
      const char *const *in_use)
{
    ApmigArrival arrival = core_describe_arrival(core, guest);

    note_shared_id(core, guest);
    arrival.in_use = in_use;
    arrival.asked_at = core->arrivals_asked_at;
    core_handle(
        core, &(ApmigEvent){.type = APMIG_EVENT_ADMIT,
                            .caller = caller,
                            .admit = {guest->uuid, guest->name, restore, apmig_guest_facts(guest), arrival}});
}

/* --- readings ------------------------------------------------------------------------------------ */

static void
judge_all(ApmigCore *core, const char *const *in_use)
{
    g_autoptr(GPtrArray) arrivals = g_steal_pointer(&core->arrivals);

    core_expect_arrivals(core);
    for (guint i = 0; i < arrivals->len; i++) {
        const Arrival *arrival = g_ptr_array_index(arrivals, i);

        if (core_has_caller(core, arrival->caller))
            judge(core, arrival->caller, arrival->guest, FALSE, in_use);
    }
}

static void
host_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
          const char *error, gpointer user_data)
{
    judge_all(user_data, NULL);
}

GPtrArray *
core_list_devices(const GPtrArray *guests)
{
    GPtrArray *devices = guests ? g_ptr_array_new() : NULL;

    for (guint i = 0; guests && i < guests->len; i++) {
        const ApmigGuestDevices *guest = g_ptr_array_index(guests, i);

        for (guint j = 0; guest->devices && guest->devices[j]; j++)
            g_ptr_array_add(devices, guest->devices[j]);
    }
    if (devices)
        g_ptr_array_add(devices, NULL);
    return devices;
}

static void
host_and_guests_read(const ApmigApHost *host, const GPtrArray *guests, const char *error, gpointer user_data)
{
    g_autoptr(GPtrArray) in_use = core_list_devices(guests);

    judge_all(user_data, in_use ? (const char *const *)in_use->pdata : NULL);
}

/* A guest that is restored was let in without such a reading, and is: after a reboot all come at once. */
static gboolean
needs_reading(const ApmigCore *core, const ApmigGuest *guest, gboolean restore)
{
    if (restore || guest->affected == APMIG_AFFECTED_NO)
        return FALSE;
    if (core->remap_devices != APMIG_REMAP_OFF && find_device(guest))
        return TRUE;
    return has_ap_device(guest) && guest->stamp && guest->stamp->view &&
           !apmig_key_view_host(core->key_view, FRESH_USEC);
}

static void
wait_for_reading(ApmigCore *core, ApmigCaller caller, ApmigGuest *guest)
{
    Arrival *arrival = g_new(Arrival, 1);
    gboolean under_way = core->arrivals->len > 0;

    *arrival = (Arrival){caller, guest};
    g_ptr_array_add(core->arrivals, arrival);
    if (under_way)
        return;
    core->arrivals_asked_at = apmig_boot_time();
    if (core->remap_devices != APMIG_REMAP_OFF)
        apmig_queue_lister_list(core->queue_lister, ARRIVAL_LIMIT_USEC, host_and_guests_read, core);
    else
        apmig_key_view_read_host(core->key_view, ARRIVAL_LIMIT_USEC, host_read, core);
}

/* --- requests ------------------------------------------------------------------------------------ */

ApmigCaller
apmig_core_admit(ApmigCore *core, ApmigGuest *guest, gboolean restore, ApmigReplyFunc func,
                 gpointer user_data)
{
    ApmigCaller caller = core_add_caller(core, func, user_data);

    core->hook_last_called = g_get_real_time();
    if (needs_reading(core, guest, restore)) {
        wait_for_reading(core, caller, guest);
        return caller;
    }
    judge(core, caller, guest, restore, NULL);
    if (!has_ap_device(guest) && guest->stamp && guest->stamp->view)
        core_refresh_keys(core); /* for the next one: this one has its answer from memory */
    apmig_guest_free(guest);
    return caller;
}
