/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "queue-lister.h"

/* Counted by g_rc_box: the lister has a reference until it is answered, and one for each question on the way to that. */
typedef struct {
    ApmigQueueLister *lister;
    gboolean is_answered;
    ApmigApHost *host;
    GPtrArray *guests; /* of ApmigGuestDevices */
    char *error;
    gboolean has_host, has_guests;
    guint timeout; /* the hypervisor's; 0: over */
    ApmigQueuesFunc func;
    gpointer user_data;
} Listing;

struct ApmigQueueLister {
    ApmigHypervisor *hypervisor;
    ApmigKeyView *view;
    GPtrArray *listings;  /* of Listing: not answered */
    GPtrArray *questions; /* of Listing, one for each that is asked, and has not answered: it may never */
};

static void
listing_clear(gpointer data)
{
    Listing *listing = data;

    apmig_ap_host_free(listing->host);
    g_clear_pointer(&listing->guests, g_ptr_array_unref);
    g_free(listing->error);
}

static void
listing_unref(gpointer data)
{
    g_rc_box_release_full(data, listing_clear);
}

static void
detach(gpointer data)
{
    Listing *listing = data;

    listing->is_answered = TRUE;
    g_clear_handle_id(&listing->timeout, g_source_remove);
    listing_unref(listing);
}

static void
answer_when_complete(Listing *listing)
{
    ApmigQueueLister *lister = listing->lister;

    if (listing->is_answered || !listing->has_host || !listing->has_guests)
        return;
    g_rc_box_acquire(listing);
    g_ptr_array_remove_fast(lister->listings, listing);
    listing->func(listing->host, listing->guests, listing->error, listing->user_data);
    listing_unref(listing);
}

static void
on_host_read(const ApmigApHost *host, G_GNUC_UNUSED const GPtrArray *readings,
             G_GNUC_UNUSED const ApmigEvidence *evidence, const char *error, gpointer user_data)
{
    Listing *listing = user_data;

    listing->host = host ? apmig_ap_host_copy(host) : NULL;
    listing->error = g_strdup(error);
    listing->has_host = TRUE;
    answer_when_complete(listing);
    g_ptr_array_remove_fast(listing->lister->questions, listing);
}

static void
on_guests(const GPtrArray *guests, gpointer user_data)
{
    Listing *listing = user_data;

    g_clear_handle_id(&listing->timeout, g_source_remove);
    if (!listing->is_answered && !listing->has_guests && guests) {
        listing->guests = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_guest_devices_free);
        for (guint i = 0; i < guests->len; i++)
            g_ptr_array_add(listing->guests, apmig_guest_devices_copy(guests->pdata[i]));
    }
    listing->has_guests = TRUE;
    answer_when_complete(listing);
    g_ptr_array_remove_fast(listing->lister->questions, listing);
}

/* Returns: @listing, for who is asked. */
static Listing *
note_question(Listing *listing)
{
    g_ptr_array_add(listing->lister->questions, g_rc_box_acquire(listing));
    return listing;
}

static gboolean
on_late(gpointer user_data)
{
    Listing *listing = user_data;

    listing->timeout = 0;
    listing->has_guests = TRUE;
    answer_when_complete(listing);
    return G_SOURCE_REMOVE;
}

void
apmig_queue_lister_list(ApmigQueueLister *lister, gint64 limit_usec, ApmigQueuesFunc func, gpointer user_data)
{
    Listing *listing = g_rc_box_new0(Listing);

    listing->lister = lister;
    listing->func = func;
    listing->user_data = user_data;
    listing->timeout = g_timeout_add((guint)(limit_usec / 1000), on_late, listing);
    g_ptr_array_add(lister->listings, listing);
    apmig_key_view_read_host(lister->view, limit_usec, on_host_read, note_question(listing));
    lister->hypervisor->list_devices(lister->hypervisor, on_guests, note_question(listing));
}

ApmigQueueLister *
apmig_queue_lister_new(ApmigHypervisor *hypervisor, ApmigKeyView *view)
{
    ApmigQueueLister *lister = g_new0(ApmigQueueLister, 1);

    lister->hypervisor = hypervisor;
    lister->view = view;
    lister->listings = g_ptr_array_new_with_free_func(detach);
    lister->questions = g_ptr_array_new_with_free_func(listing_unref);
    return lister;
}

void
apmig_queue_lister_free(ApmigQueueLister *lister)
{
    if (!lister)
        return;
    g_ptr_array_unref(lister->listings);
    g_ptr_array_unref(lister->questions);
    g_free(lister);
}
