/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd reads of a domain XML: name, UUID, mediated devices of type vfio-ap, and its own metadata elements:
 * <apmigd:keys xmlns:apmigd="urn:apmigd:1" scope="..."/>, and the stamp of the host that the guest was on last (see
 * stamp-xml.h). The XML is hostile until checked: it comes from another host.
 */
#pragma once

#include "stamp/stamp.h"
#include "stamp/guest-facts.h"

#define APMIG_KEYS_NAMESPACE "urn:apmigd:1"

#define APMIG_GUEST_MAX_DEVICES 16

typedef struct {
    char *name;             /* of an unaffected one fit to be shown, maybe no more, or "" */
    char *uuid;             /* lower case, in the canonical form; of an unaffected one maybe "" */
    ApmigAffected affected; /* never UNKNOWN */
    ApmigScope *scope;      /* with APMIG_AFFECTED_YES */
    ApmigScope
        *declared; /* (nullable): in our metadata; of a guest without a vfio-ap device, with the queues of
                             * its stamp: it had them, and lost the device to be moved */
    /* UUIDs of mediated devices, at most %APMIG_GUEST_MAX_DEVICES: of model vfio-ap; of a guest with our metadata,
     * then of any */
    GStrv devices;
    guint n_ap_devices;    /* so many of these, the first ones, are of model vfio-ap */
    gboolean has_unnamed;  /* it has one of model vfio-ap whose UUID cannot be read */
    gboolean scope_varies; /* see ApmigGuestFacts; FALSE as parsed */
    /* UUIDs of vfio-ap devices that it has in its persistent configuration, and not now: see
     * apmig_guest_add_persistent(); none as parsed */
    GStrv unplugged;
    gboolean has_unnamed_unplugged; /* it has such a one whose UUID cannot be read */
    gboolean knows_unplugged;       /* its stamp names the queues of that device, where it was taken away */
    ApmigStamp *stamp;              /* (nullable) */
    char *
        stamp_problem; /* (nullable): why the stamp that it has does not read, as a clause; @stamp is then NULL */
} ApmigGuest;

/**
 * apmig_guest_parse:
 * @xml: anything
 * @error: #APMIG_ERROR_INVALID_GUEST: it is affected, or may be, and cannot be read, or has no name or UUID that apmigd can
 * work with; a clause that says what to do
 *
 * An unaffected guest is never an error, whatever else is odd about its XML; what counts of one that does not parse is
 * told at apmig_document_read().
 *
 * A guest with a mediated device of model vfio-ap, be it in <qemu:commandline>, is affected, and its scope is all: the XML
 * does not tell the queues (see apmig_guest_read_queues()). A guest with the metadata element is affected with the scope that it
 * declares; one that does not parse, or without the attribute, counts as all. One without such a device and with a
 * stamp that names queues of a device is affected with these. No network, no entity expansion, no DTD.
 *
 * Returns: (transfer full) (nullable)
 */
ApmigGuest *apmig_guest_parse(const char *xml, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/**
 * apmig_guest_add_persistent:
 * @guest: an active one, as its live XML says
 * @persistent: the same, as its persistent configuration says
 *
 * A guest whose vfio-ap device was taken away for a migration is affected as if it had it: it gets it back on the other
 * host, or with its next start. One that has such a device now is left as it is.
 */
void apmig_guest_add_persistent(ApmigGuest *guest, const ApmigGuest *persistent);

/* Without the stamp. */
ApmigGuest *apmig_guest_copy(const ApmigGuest *guest);
void apmig_guest_free(ApmigGuest *guest);
/* Borrowed by the result. */
ApmigGuestFacts apmig_guest_facts(const ApmigGuest *guest);

/**
 * apmig_guest_reduce:
 *
 * Returns: (transfer full): the <domain> with name, uuid, our metadata (of a stamp, what reads) and the vfio-ap hostdevs only: what the
 * hook hands to the daemon. Passwords and the rest stay where they were. Parsing it again gives the same guest.
 */
char *apmig_guest_reduce(const char *xml, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* As apmig_guest_reduce(), with another stamp. @stamp: (transfer full) (nullable): in place of what is there */
char *apmig_guest_reduce_stamped(const char *xml, gsize length, ApmigStamp *stamp,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_guest_replace_devices:
 * @xml: as of apmig_guest_parse()
 * @device_map: (element-type utf8 utf8): UUIDs of mediated devices, lower case, and what takes their place
 * @error: #APMIG_ERROR_INVALID_GUEST, also when it has no such device
 *
 * Returns: (transfer full) (nullable): the whole of it with other UUIDs, for libvirt, which takes what its hook prints.
 */
char *apmig_guest_replace_devices(const char *xml, gsize length, GHashTable *device_map,
                                  GError **error) G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigGuest, apmig_guest_free)
