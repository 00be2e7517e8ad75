/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of a domain XML as a tree, or what can be told of one that makes no tree. Any thread.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

/* Longer ones are looked through, and make no tree: libvirt takes none from its clients (REMOTE_STRING_MAX of its
 * src/remote/remote_protocol.x), but what it writes of one, or what a hook script prints, can be longer. */
#define APMIG_GUEST_XML_MAX_BYTES (4 * 1024 * 1024)

/**
 * apmig_document_read:
 * @xml: anything
 * @ret_is_free: (out): without a tree: whether it is sure that no vfio-ap device and no element of ours is in it
 * @error: #APMIG_ERROR_INVALID_GUEST
 *
 * No network, no entity expansion, no external DTD, and libxml2's own bounds for depth (256), names and texts, which are
 * libvirt's too.
 *
 * What decides where there is no tree: libvirt parses what a hook script prints (virHookCall() hands it to the next
 * script, qemuMigrationDstPrepare() to virDomainDefParseString()) with this same library and, but for entities, with
 * these options (virXMLParseHelper()). So what does not parse here, or is no <domain>, becomes no guest there either,
 * however it spells things, and its bytes decide. Two things libvirt takes and we do not: declared entities, which can
 * spell anything, so such a text is never free; and what is longer than %APMIG_GUEST_XML_MAX_BYTES, which is parsed
 * without being kept: attributes and namespaces decide, with references resolved and in whatever encoding.
 *
 * Upper and lower case differ, as to libvirt and QEMU.
 *
 * Returns: (transfer full) (nullable): its root element is a <domain>.
 */
xmlDoc *apmig_document_read(const char *xml, gsize length, gboolean *ret_is_free,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: whether @text, an argument for QEMU, has "vfio-ap" in it, be it as JSON, which can escape letters. */
gboolean apmig_argument_names_vfio_ap(const char *text);
