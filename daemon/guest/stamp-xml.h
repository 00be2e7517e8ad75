/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stamp (see ap-stamp.h) as an element in a guest's metadata:
 *
 *     <apmigd:stamp xmlns:apmigd="urn:apmigd:stamp:1" form="full" host="UUID" host-name="NAME"
 *                    written-at="USEC" digest="SHA-256">
 *       <apmigd:lock id="..." owner="..." since="USEC" reason="..."/>
 *       <apmigd:queues device="UUID" control-domains="0x..." declared="yes">
 *         <apmigd:queue at="04.0012" mode="CCA" functions="0x93800000" known="0xffffffff" raw-hwtype="14">
 *           <apmigd:key class="AES" evidence="verified" at="USEC" source="" new="empty" cur="valid 0x..." old="..."/>
 *
 * Without host-name only the id tells which host it was; without <lock> migration is not locked there, without <queues> it is not known what the guest has, without
 * control-domains or device that part is not known, without declared they are those of a device. The form "digest" has of
 * the queues only at and mode: what the digest is made of.
 *
 * libvirt keeps one element of each namespace in a guest's metadata: virDomainSetMetadata() takes away all others of the
 * same namespace (virDomainDefSetMetadata(), and so measured with libvirt 9.0). So the stamp has a namespace of its
 * own, beside that of <apmigd:keys>, which is the guest's administrator's.
 *
 * Whoever may edit guests can write one: what is read here is hostile. A known attribute or child that has not exactly
 * its form makes the stamp one that does not read; an unknown one is passed over: a newer apmigd may have written it.
 */
#pragma once

#include <libxml/tree.h>

#include "stamp/stamp.h"

#define APMIG_STAMP_NAMESPACE "urn:apmigd:stamp:1"
#define APMIG_STAMP_PREFIX    "apmigd"

/* Of the element as it is written: it is in every status file of libvirt and in every migration. */
#define APMIG_STAMP_MAX_BYTES  (256 * 1024)
#define APMIG_STAMP_MAX_QUEUES (APMIG_AP_NUMBERS * APMIG_AP_NUMBERS)

/* Whether @node is a <stamp> of our namespace. */
gboolean apmig_stamp_is_element(const xmlNode *node);

/**
 * apmig_stamp_read:
 * @element: a <stamp>, as part of a larger document
 * @error: #APMIG_ERROR_INVALID_GUEST: a clause to follow "the guest's stamp does not read:", fit to be shown
 *
 * Returns: (transfer full) (nullable): its @keys is %NULL in the form "digest".
 */
ApmigStamp *apmig_stamp_read(xmlNode *element, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_stamp_add_element:
 * @parent: where the element goes, with its namespace
 *
 * Of any size: the bounds are those of what was read.
 */
void apmig_stamp_add_element(xmlNode *parent, const ApmigStamp *stamp);

/* Takes from @stamp what apmig_stamp_to_xml() would leave out. @form: not off */
void apmig_stamp_fit(ApmigStamp *stamp, ApmigStampForm form);

/* In place of a stamp that did not read: one that does not read either, for the same reason. */
void apmig_stamp_add_unreadable(xmlNode *parent, const char *problem);

/**
 * apmig_stamp_to_xml:
 * @form: not off; at most this, and less when that would be more than %APMIG_STAMP_MAX_BYTES: in the end without queues
 *
 * Returns: (transfer full): the element as virDomainSetMetadata() takes it, which adds the namespace.
 */
char *apmig_stamp_to_xml(const ApmigStamp *stamp, ApmigStampForm form);

/**
 * apmig_stamp_from_xml:
 * @text: anything
 * @error: #APMIG_ERROR_INVALID_GUEST: a clause to follow "the stamp does not read:"
 *
 * Takes what apmig_stamp_to_xml() gives, and not a byte of anything else: no second element, no namespace of its own, no
 * attribute that is not known here.
 *
 * Returns: (transfer full) (nullable)
 */
ApmigStamp *apmig_stamp_from_xml(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;
