/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/stamper.h"

#include "ap/find.h"
#include "cards/ap-sysfs.h"
#include "guest/stamp-xml.h"

#include <string.h>

#define HOST_AGE_USEC                                                                                        \
    (5 * G_USEC_PER_SEC) /* older is read anew: it takes thousands of files of a large machine */

/* --- the host ------------------------------------------------------------------------------------ */

/* Counted by g_atomic_rc_box. */
struct ApmigStampHost {
    ApmigSysfs *sysfs;
    GMutex reading; /* guards what follows; held while it is read */
    ApmigApHost *host;
    gint64 read_at; /* monotonic */
};

ApmigStampHost *
apmig_stamp_host_new(ApmigSysfs *sysfs)
{
    ApmigStampHost *host = g_atomic_rc_box_new0(ApmigStampHost);

    host->sysfs = apmig_sysfs_ref(sysfs);
    g_mutex_init(&host->reading);
    return host;
}

ApmigStampHost *
apmig_stamp_host_ref(ApmigStampHost *host)
{
    return g_atomic_rc_box_acquire(host);
}

static void
host_clear(gpointer data)
{
    ApmigStampHost *host = data;

    apmig_sysfs_unref(host->sysfs);
    apmig_ap_host_free(host->host);
    g_mutex_clear(&host->reading);
}

void
apmig_stamp_host_unref(ApmigStampHost *host)
{
    if (host)
        g_atomic_rc_box_release_full(host, host_clear);
}

/* Returns: (transfer none): as it was read a moment ago; with host->reading held. */
static const ApmigApHost *
read_host(ApmigStampHost *host)
{
    if (!host->host || g_get_monotonic_time() >= host->read_at + HOST_AGE_USEC) {
        apmig_ap_host_free(host->host);
        host->host = apmig_ap_read_host(host->sysfs);
        host->read_at = g_get_monotonic_time();
    }
    return host->host;
}

/* Returns: (transfer full) (nullable): what the guest of the device has. */
static ApmigApView *
view_device(ApmigStampHost *host, const char *uuid)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&host->reading);
    const ApmigApHost *hardware = read_host(host);
    const ApmigApDevice *device = apmig_ap_find_device(hardware, uuid);

    return device ? apmig_ap_view_new_of_device(hardware, device) : NULL;
}

/* Returns: (transfer full) (nullable): what this host has of the scope. */
static ApmigApView *
view_scope(ApmigStampHost *host, const ApmigScope *scope)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&host->reading);

    return apmig_ap_view_new_of_scope(read_host(host), scope);
}

/* --- orders -------------------------------------------------------------------------------------- */

static ApmigEvidence *
copy_evidence(const ApmigEvidence *evidence)
{
    ApmigEvidence *copy = apmig_evidence_new();
    g_autoptr(GPtrArray) records = apmig_evidence_list(evidence);

    for (guint i = 0; i < records->len; i++)
        apmig_evidence_add(copy, g_ptr_array_index(records, i), NULL);
    return copy;
}

ApmigStampOrder *
apmig_stamp_order_new(const ApmigAction *action, const char *host_id, const char *host_name, gint64 now,
                      const ApmigEvidence *evidence)
{
    ApmigStampOrder *order = g_new0(ApmigStampOrder, 1);

    order->form = action->stamp.form;
    order->change = action->stamp.change;
    order->host_id = g_strdup(host_id);
    order->host_name = g_strdup(host_name);
    order->now = now;
    order->locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    for (guint i = 0; i < action->stamp.locks->len; i++)
        g_ptr_array_add(order->locks, apmig_lock_record_copy(g_ptr_array_index(action->stamp.locks, i)));
    order->evidence = copy_evidence(evidence);
    return order;
}

void
apmig_stamp_order_free(ApmigStampOrder *order)
{
    if (!order)
        return;
    g_free(order->host_id);
    g_free(order->host_name);
    g_ptr_array_unref(order->locks);
    apmig_evidence_free(order->evidence);
    g_free(order);
}

/* --- the content --------------------------------------------------------------------------------- */

/* Whether they are those of a device that it had. */
static gboolean
names_queues_of_device(const ApmigStamp *stamp)
{
    return stamp && stamp->view && !stamp->is_declared && stamp->view->queues->len > 0;
}

static ApmigApView *
copy_view(const ApmigApView *view)
{
    ApmigApView *copy = apmig_ap_view_new();

    g_array_append_vals(copy->queues, view->queues->data, view->queues->len);
    copy->control_domains = view->control_domains;
    copy->has_control_domains = view->has_control_domains;
    return copy;
}

/* @view: (transfer full) (nullable). @lock: (transfer full) (nullable). Returns: (transfer full): in this host's name */
static ApmigStamp *
new_stamp(const ApmigStampOrder *order, ApmigApView *view, const ApmigEvidence *evidence,
          ApmigStampLock *lock)
{
    ApmigStamp *stamp = apmig_stamp_new(order->host_id, order->now, view, evidence, lock);

    stamp->host_name = g_strdup(order->host_name);
    return stamp;
}

/* What it brought when its device was taken away, in this host's name. */
static ApmigStamp *
carry_on(const ApmigStamp *brought, const ApmigStampOrder *order, ApmigStampLock *lock)
{
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    ApmigStamp *stamp =
        new_stamp(order, copy_view(brought->view), brought->keys ? brought->keys : nothing, lock);

    stamp->device = g_strdup(brought->device);
    if (!brought->keys) {
        g_clear_pointer(&stamp->keys, apmig_evidence_free);
        g_free(stamp->digest);
        stamp->digest = g_strdup(brought->digest);
    }
    return stamp;
}

/* A guest has one vfio-ap device at most, as far as KVM goes; of several it would not be known what it has of which.
 * Without one of that model, what any other of its mediated devices is, sysfs tells. Returns: (nullable): its UUID
 * @ret_view: (out) (transfer full) (nullable) */
static const char *
find_device(const ApmigGuest *guest, ApmigStampHost *host, ApmigApView **ret_view)
{
    const guint n_devices = guest->n_ap_devices ? guest->n_ap_devices : g_strv_length(guest->devices);

    *ret_view = NULL;
    if (guest->n_ap_devices > 1 || guest->has_unnamed)
        return NULL;
    for (guint i = 0; i < n_devices; i++) {
        *ret_view = view_device(host, guest->devices[i]);
        if (*ret_view)
            return guest->devices[i];
    }
    return NULL;
}

/* Of the queues that the guest declares, those that this host has: its keys are used there. */
static ApmigStamp *
tell_declared(const ApmigScope *declared, ApmigStampHost *host, const ApmigStampOrder *order,
              ApmigStampLock *lock)
{
    ApmigApView *view = view_scope(host, declared);
    ApmigStamp *stamp = new_stamp(order, view, order->evidence, lock);

    stamp->is_declared = view != NULL;
    return stamp;
}

static ApmigStamp *
make_stamp(const ApmigGuest *guest, ApmigStampHost *host, const ApmigStampOrder *order)
{
    ApmigStampLock *lock = apmig_stamp_choose_lock(order->locks, guest->scope);
    gboolean has_device = guest->n_ap_devices > 0 || guest->has_unnamed;
    ApmigApView *view = NULL;
    const char *device = find_device(guest, host, &view);
    ApmigStamp *stamp;

    if (!device && !has_device && names_queues_of_device(guest->stamp))
        return carry_on(guest->stamp, order, lock);
    if (!device && guest->unplugged[0] && !guest->unplugged[1] && !guest->has_unnamed_unplugged) {
        view = view_device(host, guest->unplugged[0]);
        device = view ? guest->unplugged[0] : NULL;
    }
    if (!device && !has_device && guest->declared)
        return tell_declared(guest->declared, host, order, lock);
    stamp = new_stamp(order, view, order->evidence, lock);
    stamp->device = g_strdup(device);
    return stamp;
}

/* Whether both say the same, but for the time. */
static gboolean
is_current(const ApmigStamp *there, ApmigStamp *stamp, ApmigStampForm form)
{
    const gint64 written_at = stamp->written_at;
    g_autofree char *old = NULL;
    g_autofree char *new = NULL;

    if (!there || !there->keys != !stamp->keys || (form == APMIG_STAMP_DIGEST && there->keys))
        return FALSE;
    stamp->written_at = there->written_at;
    old = apmig_stamp_to_xml(there, form);
    new = apmig_stamp_to_xml(stamp, form);
    stamp->written_at = written_at;
    return g_str_equal(old, new);
}

ApmigStampChange
apmig_stamp_compose(const ApmigGuest *guest, ApmigStampHost *host, const ApmigStampOrder *order,
                    char **ret_xml)
{
    gboolean has_one = guest->stamp || guest->stamp_problem;
    g_autoptr(ApmigStamp) stamp = NULL;

    if (order->form == APMIG_STAMP_OFF || !order->host_id || guest->affected != APMIG_AFFECTED_YES)
        return has_one ? APMIG_STAMP_REMOVE : APMIG_STAMP_KEEP;
    stamp = make_stamp(guest, host, order);
    if (is_current(guest->stamp, stamp, order->form))
        return APMIG_STAMP_KEEP;
    *ret_xml = apmig_stamp_to_xml(stamp, order->form);
    return APMIG_STAMP_WRITE;
}

char *
apmig_stamp_describe(const char *xml, const ApmigGuest *guest, ApmigStampHost *host,
                     const ApmigStampOrder *order, GError **error)
{
    ApmigStamp *stamp = NULL;

    if (order->host_id && guest->affected == APMIG_AFFECTED_YES) {
        stamp = make_stamp(guest, host, order);
        apmig_stamp_fit(stamp, order->form);
    }
    return apmig_guest_reduce_stamped(xml, strlen(xml), stamp, error);
}

void
apmig_other_keys_free(ApmigOtherKeys *other)
{
    if (!other)
        return;
    g_free(other->uuid);
    g_free(other->name);
    g_free(other->sentence);
    g_free(other);
}

ApmigOtherKeys *
apmig_stamp_find_other_keys(const ApmigGuest *guest, const ApmigStampOrder *order)
{
    static const ApmigStampPolicy only_keys = {.keys_differ = APMIG_STAMP_DENY};
    g_autoptr(ApmigStampVerdict) verdict = NULL;
    ApmigOtherKeys *other;
    ApmigStamp stamp;

    if (order->change == APMIG_NEWS_CHANGED || !names_queues_of_device(guest->stamp) ||
        guest->n_ap_devices == 0)
        return NULL;
    stamp = *guest->stamp;
    stamp.lock = NULL;
    verdict = apmig_stamp_judge(&stamp, order->evidence, order->now, &only_keys);
    if (verdict->answer != APMIG_STAMP_DENY)
        return NULL;
    other = g_new0(ApmigOtherKeys, 1);
    other->uuid = g_strdup(guest->uuid);
    other->name = g_strdup(guest->name);
    other->change = order->change;
    other->sentence = g_steal_pointer(&verdict->sentence);
    return other;
}
