/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/guest-lister.h"

/* Counted by g_rc_box: the lister has a reference until it is answered, and one while the hypervisor is asked. */
typedef struct {
    ApmigGuestLister *lister;
    gboolean is_answered;
    guint timeout;
    ApmigGuestDevicesFunc func;
    gpointer user_data;
} Listing;

struct ApmigGuestLister {
    ApmigHypervisor *hypervisor;
    GPtrArray *listings;  /* of Listing: not answered */
    GPtrArray *questions; /* of Listing: the hypervisor has not answered: it may never */
};

static void
detach(gpointer data)
{
    Listing *listing = data;

    listing->is_answered = TRUE;
    g_clear_handle_id(&listing->timeout, g_source_remove);
    g_rc_box_release(listing);
}

static void
answer(Listing *listing, const GPtrArray *guests)
{
    ApmigGuestDevicesFunc func = listing->func;
    gpointer user_data = listing->user_data;

    g_ptr_array_remove_fast(listing->lister->listings, listing);
    func(guests, user_data);
}

static void
on_guests(const GPtrArray *guests, gpointer user_data)
{
    Listing *listing = user_data;

    if (!listing->is_answered)
        answer(listing, guests);
    g_ptr_array_remove_fast(listing->lister->questions, listing);
}

static gboolean
on_late(gpointer user_data)
{
    Listing *listing = user_data;

    listing->timeout = 0;
    answer(listing, NULL);
    return G_SOURCE_REMOVE;
}

void
apmig_guest_lister_list(ApmigGuestLister *lister, gint64 limit_usec, ApmigGuestDevicesFunc func,
                        gpointer user_data)
{
    Listing *listing = g_rc_box_new0(Listing);

    listing->lister = lister;
    listing->func = func;
    listing->user_data = user_data;
    listing->timeout = g_timeout_add((guint)(limit_usec / 1000), on_late, listing);
    g_ptr_array_add(lister->listings, listing);
    g_ptr_array_add(lister->questions, g_rc_box_acquire(listing));
    lister->hypervisor->list_devices(lister->hypervisor, on_guests, listing);
}

ApmigGuestLister *
apmig_guest_lister_new(ApmigHypervisor *hypervisor)
{
    ApmigGuestLister *lister = g_new0(ApmigGuestLister, 1);

    lister->hypervisor = hypervisor;
    lister->listings = g_ptr_array_new_with_free_func(detach);
    lister->questions = g_ptr_array_new_with_free_func(g_rc_box_release);
    return lister;
}

void
apmig_guest_lister_free(ApmigGuestLister *lister)
{
    if (!lister)
        return;
    g_ptr_array_unref(lister->listings);
    g_ptr_array_unref(lister->questions);
    g_free(lister);
}
