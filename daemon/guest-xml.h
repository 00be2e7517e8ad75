/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd reads of a domain XML: name, UUID, mediated devices of type vfio-ap, and its own metadata
 * element <apmigd:keys xmlns:apmigd="urn:apmigd:1" scope="..."/>. The XML is hostile until checked: it comes
 * from another host.
 */
#pragma once

#include "engine.h"

#define APMIG_GUEST_XML_MAX_BYTES (4 * 1024 * 1024)
#define APMIG_GUEST_MAX_DEVICES   16

typedef struct {
    char *name;
    char *uuid;             /* lower case */
    ApmigAffected affected; /* never UNKNOWN */
    ApmigScope *scope;      /* with APMIG_AFFECTED_YES */
    /* UUIDs of mediated devices, at most %APMIG_GUEST_MAX_DEVICES: of model vfio-ap; of a guest with our metadata,
     * then of any */
    GStrv devices;
} ApmigGuest;

/**
 * apmig_guest_parse:
 * @xml: a <domain>, at most %APMIG_GUEST_XML_MAX_BYTES
 * @error: #APMIG_ERROR_INVALID_GUEST
 *
 * A guest with a mediated device of model vfio-ap is affected; until its queues are read its scope is all. A
 * guest with the metadata element is affected with the scope that it declares; one that does not parse, or
 * without the attribute, counts as all. No network, no entity expansion, no DTD.
 *
 * Returns: (transfer full) (nullable)
 */
ApmigGuest *apmig_guest_parse(const char *xml, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void apmig_guest_free(ApmigGuest *guest);
/* Borrowed by the result. */
ApmigGuestFacts apmig_guest_facts(const ApmigGuest *guest);

/**
 * apmig_guest_reduce:
 *
 * Returns: (transfer full): the <domain> with name, uuid, our metadata and the vfio-ap hostdevs only: what the
 * hook hands to the daemon. Passwords and the rest stay where they were. Parsing it again gives the same guest.
 */
char *apmig_guest_reduce(const char *xml, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigGuest, apmig_guest_free)
