/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/queue-lister.h"

typedef struct {
    ApmigQueueLister *lister;
    ApmigApHost *host;
    GPtrArray *guests; /* of ApmigGuestDevices */
    char *error;
    gboolean has_host, has_guests;
    ApmigQueuesFunc func;
    gpointer user_data;
} Listing;

struct ApmigQueueLister {
    ApmigGuestLister *guest_lister;
    ApmigKeyView *view;
    GHashTable *listings; /* set of Listing: not answered */
};

static void
listing_free(gpointer data)
{
    Listing *listing = data;

    apmig_ap_host_free(listing->host);
    g_clear_pointer(&listing->guests, g_ptr_array_unref);
    g_free(listing->error);
    g_free(listing);
}

static void
answer_when_complete(Listing *listing)
{
    if (!listing->has_host || !listing->has_guests)
        return;
    g_hash_table_steal(listing->lister->listings, listing);
    listing->func(listing->host, listing->guests, listing->error, listing->user_data);
    listing_free(listing);
}

static void
on_host_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
             const char *error, gpointer user_data)
{
    Listing *listing = user_data;

    listing->host = host ? apmig_ap_host_copy(host) : NULL;
    listing->error = g_strdup(error);
    listing->has_host = TRUE;
    answer_when_complete(listing);
}

static void
on_guests(const GPtrArray *guests, gpointer user_data)
{
    Listing *listing = user_data;

    if (guests)
        listing->guests = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_guest_devices_free);
    for (guint i = 0; guests && i < guests->len; i++)
        g_ptr_array_add(listing->guests, apmig_guest_devices_copy(g_ptr_array_index(guests, i)));
    listing->has_guests = TRUE;
    answer_when_complete(listing);
}

void
apmig_queue_lister_list(ApmigQueueLister *lister, gint64 limit_usec, ApmigQueuesFunc func, gpointer user_data)
{
    Listing *listing = g_new0(Listing, 1);

    listing->lister = lister;
    listing->func = func;
    listing->user_data = user_data;
    g_hash_table_add(lister->listings, listing);
    apmig_key_view_read_host(lister->view, limit_usec, on_host_read, listing);
    apmig_guest_lister_list(lister->guest_lister, limit_usec, on_guests, listing);
}

ApmigQueueLister *
apmig_queue_lister_new(ApmigGuestLister *guest_lister, ApmigKeyView *view)
{
    ApmigQueueLister *lister = g_new0(ApmigQueueLister, 1);

    lister->guest_lister = guest_lister;
    lister->view = view;
    lister->listings = g_hash_table_new_full(NULL, NULL, listing_free, NULL);
    return lister;
}

void
apmig_queue_lister_free(ApmigQueueLister *lister)
{
    if (!lister)
        return;
    g_hash_table_unref(lister->listings);
    g_free(lister);
}
