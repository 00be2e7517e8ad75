/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/xml.h"
#include "guest/stamp-xml.h"
#include "base/text.h"
#include "base/error.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

#define KEYS_PREFIX     "apmigd"
#define MAX_NAME_LENGTH 255

/* What the XML says, before it is drawn together. */
typedef struct {
    char *name, *uuid;
    char *declared;    /* the scope in our metadata element, one that reads; NULL: there is no such element */
    guint n_devices;   /* vfio-ap hostdevs */
    guint n_unnamed;   /* those of them whose UUID cannot be read */
    GPtrArray *uuids;  /* their UUIDs, as far as they can be read; each once */
    GPtrArray *others; /* UUIDs of mediated devices of another model */
    ApmigStamp *stamp;
    GError *stamp_problem; /* why it does not read */
} Description;

static void
description_clear(Description *description)
{
    g_free(description->name);
    g_free(description->uuid);
    g_free(description->declared);
    g_clear_pointer(&description->uuids, g_ptr_array_unref);
    g_clear_pointer(&description->others, g_ptr_array_unref);
    g_clear_pointer(&description->stamp, apmig_stamp_free);
    g_clear_error(&description->stamp_problem);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Description, description_clear)

typedef xmlDoc Document;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Document, xmlFreeDoc)
typedef xmlParserCtxt ParserContext;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ParserContext, xmlFreeParserCtxt)

G_GNUC_PRINTF(2, 3)
static gboolean
fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(APMIG_ERROR, APMIG_ERROR_INVALID_GUEST, format, args);
    va_end(args);
    return FALSE;
}

/* --- parsing ------------------------------------------------------------------------------------- */

/* No entity can be declared without a document type, so there is nothing to expand and nothing to fetch. */
static void
stop_at_document_type(void *data, const xmlChar *name, const xmlChar *external_id, const xmlChar *system_id)
{
    ParserContext *context = data;

    context->_private = context;
    xmlStopParser(context);
}

static gboolean
fail_to_parse(ParserContext *context, GError **error)
{
    const xmlError *cause = xmlCtxtGetLastError(context);
    g_autofree char *text = g_strchomp(g_strdup(cause && cause->message ? cause->message : "it is no XML"));
    g_autofree char *message = apmig_text_escape(text, 200);

    if (context->_private)
        return fail(error, "the domain XML has a document type, which is not allowed");
    return fail(error, "the domain XML does not parse, line %d: %s", cause ? cause->line : 1, message);
}

/* Without XML_PARSE_HUGE libxml2 bounds depth (256) and the sizes of names and texts by itself. */
static Document *
parse(const char *xml, gsize length, GError **error)
{
    g_autoptr(ParserContext) context = NULL;
    g_autoptr(Document) document = NULL;

    if (length > APMIG_GUEST_XML_MAX_BYTES) {
        fail(error, "the domain XML has %" G_GSIZE_FORMAT " bytes, more than %d", length,
             APMIG_GUEST_XML_MAX_BYTES);
        return NULL;
    }
    if (!g_utf8_validate(xml, length, NULL)) {
        fail(error, "the domain XML is no UTF-8 text");
        return NULL;
    }
    context = xmlNewParserCtxt();
    context->sax->internalSubset = stop_at_document_type;
    document = xmlCtxtReadMemory(context, xml, length, NULL, "UTF-8",
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (!document || context->_private) {
        fail_to_parse(context, error);
        return NULL;
    }
    return g_steal_pointer(&document);
}

/* --- reading ------------------------------------------------------------------------------------- */

static gboolean
is_element(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && !node->ns && strcmp((const char *)node->name, name) == 0;
}

static xmlNode *
first_child(const xmlNode *parent, const char *name)
{
    for (xmlNode *node = parent->children; node; node = node->next)
        if (is_element(node, name))
            return node;
    return NULL;
}

/* Returns: (transfer full) (nullable) */
static char *
get_attribute(xmlNode *node, const char *name)
{
    xmlChar *value = xmlGetNoNsProp(node, (const xmlChar *)name);
    char *copy = g_strdup((const char *)value);

    xmlFree(value);
    return copy;
}

static gboolean
attribute_is(xmlNode *node, const char *name, const char *expected)
{
    g_autofree char *value = get_attribute(node, name);

    return g_strcmp0(value, expected) == 0;
}

/* The text of the one child of that name. */
static gboolean
read_child_text(const xmlNode *parent, const char *name, char **ret_text, GError **error)
{
    xmlNode *child = first_child(parent, name);
    xmlChar *content;

    if (!child)
        return fail(error, "the domain XML has no <%s>", name);
    for (xmlNode *node = child->next; node; node = node->next)
        if (is_element(node, name))
            return fail(error, "the domain XML has more than one <%s>", name);
    content = xmlNodeGetContent(child);
    *ret_text = g_strdup((const char *)content);
    xmlFree(content);
    return TRUE;
}

static gboolean
read_identity(const xmlNode *domain, Description *description, GError **error)
{
    g_autofree char *uuid = NULL;

    if (!read_child_text(domain, "name", &description->name, error) ||
        !read_child_text(domain, "uuid", &uuid, error))
        return FALSE;
    if (*description->name == '\0' || !apmig_text_is_plain(description->name, MAX_NAME_LENGTH))
        return fail(error,
                    "the <name> in the domain XML is empty, longer than %d bytes, or has control characters",
                    MAX_NAME_LENGTH);
    if (!g_uuid_string_is_valid(uuid))
        return fail(error, "the <uuid> in the domain XML is no UUID");
    description->uuid = g_ascii_strdown(uuid, -1);
    return TRUE;
}

/* What does not read, or stands there twice, is all. */
static void
read_keys(xmlNode *keys, Description *description)
{
    g_autofree char *text = get_attribute(keys, "scope");
    g_autoptr(ApmigScope) scope = text && !description->declared ? apmig_scope_parse(text, NULL) : NULL;

    g_free(description->declared);
    description->declared = scope ? g_steal_pointer(&text) : g_strdup("all");
}

/* What stands there twice is none: which of them is the host's cannot be told. */
static void
read_stamp(xmlNode *element, Description *description)
{
    if (!description->stamp && !description->stamp_problem) {
        description->stamp = apmig_stamp_read(element, &description->stamp_problem);
        return;
    }
    g_clear_pointer(&description->stamp, apmig_stamp_free);
    g_clear_error(&description->stamp_problem);
    g_set_error_literal(&description->stamp_problem, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST,
                        "there is more than one");
}

static void
read_metadata(const xmlNode *metadata, Description *description)
{
    for (xmlNode *node = metadata->children; node; node = node->next) {
        if (apmig_stamp_is_element(node))
            read_stamp(node, description);
        else if (node->type == XML_ELEMENT_NODE && node->ns &&
                 strcmp((const char *)node->name, "keys") == 0 &&
                 strcmp((const char *)node->ns->href, APMIG_KEYS_NAMESPACE) == 0)
            read_keys(node, description);
    }
}

/* libvirt takes a hostdev without a mode for one of mode subsystem (virDomainHostdevDefParseXML). */
static gboolean
is_mediated(xmlNode *hostdev)
{
    g_autofree char *mode = get_attribute(hostdev, "mode");

    return (!mode || strcmp(mode, "subsystem") == 0) && attribute_is(hostdev, "type", "mdev");
}

/* As many as an admission can keep, each once. */
static void
add_device(GPtrArray *uuids, const char *uuid)
{
    if (uuids->len < APMIG_GUEST_MAX_DEVICES &&
        !g_ptr_array_find_with_equal_func(uuids, uuid, g_str_equal, NULL))
        g_ptr_array_add(uuids, g_strdup(uuid));
}

/* A vfio-ap one without a readable UUID still counts. */
static void
read_hostdev(xmlNode *hostdev, Description *description)
{
    gboolean is_vfio_ap = attribute_is(hostdev, "model", "vfio-ap");
    GPtrArray *uuids = is_vfio_ap ? description->uuids : description->others;
    xmlNode *source = first_child(hostdev, "source");
    xmlNode *address = source ? first_child(source, "address") : NULL;
    g_autofree char *uuid = address ? get_attribute(address, "uuid") : NULL;
    g_autofree char *lower = uuid && g_uuid_string_is_valid(uuid) ? g_ascii_strdown(uuid, -1) : NULL;

    description->n_devices += is_vfio_ap;
    description->n_unnamed += is_vfio_ap && !lower;
    if (lower)
        add_device(uuids, lower);
}

static gboolean
read_devices(const xmlNode *devices, Description *description, GError **error)
{
    for (xmlNode *node = devices->children; node; node = node->next)
        if (is_element(node, "hostdev") && is_mediated(node))
            read_hostdev(node, description);
    if (description->n_devices > APMIG_GUEST_MAX_DEVICES)
        return fail(error, "the domain XML has more than %d mediated devices of model vfio-ap",
                    APMIG_GUEST_MAX_DEVICES);
    return TRUE;
}

static gboolean
describe(const char *xml, gsize length, Description *description, GError **error)
{
    g_autoptr(Document) document = parse(xml, length, error);
    const xmlNode *domain = document ? xmlDocGetRootElement(document) : NULL;

    if (!document)
        return FALSE;
    if (!domain || !is_element(domain, "domain"))
        return fail(error, "the XML is no <domain>");
    description->uuids = g_ptr_array_new_with_free_func(g_free);
    description->others = g_ptr_array_new_with_free_func(g_free);
    if (!read_identity(domain, description, error))
        return FALSE;
    for (const xmlNode *node = domain->children; node; node = node->next) {
        if (is_element(node, "metadata"))
            read_metadata(node, description);
        else if (is_element(node, "devices") && !read_devices(node, description, error))
            return FALSE;
    }
    return TRUE;
}

/* --- the guest ----------------------------------------------------------------------------------- */

/* Returns: (transfer full) (nullable): what the metadata says that the guest has. */
static ApmigScope *
find_declared(const Description *description)
{
    ApmigScope *declared = description->declared ? apmig_scope_parse(description->declared, NULL) : NULL;
    gboolean was_detached = description->n_devices == 0 && description->stamp && description->stamp->view &&
                            !description->stamp->is_declared && description->stamp->view->queues->len > 0;
    g_autoptr(ApmigScope) keys = NULL;
    g_autoptr(ApmigScope) stamped = NULL;

    if (!was_detached)
        return declared;
    stamped = apmig_ap_view_scope(description->stamp->view);
    keys = declared;
    return keys ? apmig_scope_union(keys, stamped) : g_steal_pointer(&stamped);
}

ApmigGuest *
apmig_guest_parse(const char *xml, gsize length, GError **error)
{
    g_auto(Description) description = {0};
    ApmigGuest *guest;

    if (!describe(xml, length, &description, error))
        return NULL;
    guest = g_new0(ApmigGuest, 1);
    guest->declared = find_declared(&description);
    guest->stamp = g_steal_pointer(&description.stamp);
    guest->stamp_problem = description.stamp_problem ? g_strdup(description.stamp_problem->message) : NULL;
    guest->name = g_steal_pointer(&description.name);
    guest->uuid = g_steal_pointer(&description.uuid);
    guest->n_ap_devices = description.uuids->len;
    guest->has_unnamed = description.n_unnamed > 0;
    /* Of a guest that is affected, any mediated device can fence its migration: vfio-ap first. */
    for (guint i = 0; guest->declared && i < description.others->len; i++)
        add_device(description.uuids, g_ptr_array_index(description.others, i));
    g_ptr_array_add(description.uuids, NULL);
    guest->devices = (GStrv)g_ptr_array_free(g_steal_pointer(&description.uuids), FALSE);
    guest->unplugged = g_new0(char *, 1);
    guest->affected = description.n_devices > 0 || guest->declared ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO;
    if (description.n_devices > 0)
        guest->scope = apmig_scope_new_all();
    else if (guest->declared)
        guest->scope = apmig_scope_ref(guest->declared);
    return guest;
}

void
apmig_guest_add_persistent(ApmigGuest *guest, const ApmigGuest *persistent)
{
    g_autoptr(GPtrArray) uuids = NULL;

    if (guest->n_ap_devices > 0 || guest->has_unnamed ||
        (persistent->n_ap_devices == 0 && !persistent->has_unnamed))
        return;
    uuids = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < persistent->n_ap_devices; i++)
        add_device(uuids, persistent->devices[i]);
    g_ptr_array_add(uuids, NULL);
    g_strfreev(guest->unplugged);
    guest->unplugged = g_strdupv((char **)uuids->pdata);
    guest->has_unnamed_unplugged = persistent->has_unnamed;
    guest->knows_unplugged = guest->stamp && guest->stamp->view && guest->stamp->view->queues->len > 0;
    guest->affected = APMIG_AFFECTED_YES;
    if (!guest->scope)
        guest->scope = apmig_scope_new_all();
}

ApmigGuest *
apmig_guest_copy(const ApmigGuest *guest)
{
    ApmigGuest *copy = g_new(ApmigGuest, 1);

    *copy = *guest;
    copy->name = g_strdup(guest->name);
    copy->uuid = g_strdup(guest->uuid);
    copy->scope = guest->scope ? apmig_scope_ref(guest->scope) : NULL;
    copy->declared = guest->declared ? apmig_scope_ref(guest->declared) : NULL;
    copy->devices = g_strdupv(guest->devices);
    copy->unplugged = g_strdupv(guest->unplugged);
    copy->stamp = NULL;
    copy->stamp_problem = NULL;
    return copy;
}

void
apmig_guest_free(ApmigGuest *guest)
{
    if (!guest)
        return;
    g_free(guest->name);
    g_free(guest->uuid);
    apmig_scope_unref(guest->scope);
    apmig_scope_unref(guest->declared);
    g_strfreev(guest->devices);
    g_strfreev(guest->unplugged);
    apmig_stamp_free(guest->stamp);
    g_free(guest->stamp_problem);
    g_free(guest);
}

ApmigGuestFacts
apmig_guest_facts(const ApmigGuest *guest)
{
    return (ApmigGuestFacts){guest->affected, guest->scope, (const char *const *)guest->devices,
                             guest->scope_varies};
}

/* --- the reduced XML ----------------------------------------------------------------------------- */

static xmlNode *
add_element(xmlNode *parent, const char *name, const char *text)
{
    return xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

static void
set_attribute(xmlNode *node, const char *name, const char *value)
{
    xmlNewProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

/* The namespace is declared on the element itself, as libvirt has it. */
static void
add_keys(xmlNode *metadata, const char *scope)
{
    xmlNode *keys = add_element(metadata, "keys", NULL);

    xmlSetNs(keys, xmlNewNs(keys, (const xmlChar *)APMIG_KEYS_NAMESPACE, (const xmlChar *)KEYS_PREFIX));
    set_attribute(keys, "scope", scope);
}

static void
add_metadata(xmlNode *domain, const Description *description)
{
    xmlNode *metadata = add_element(domain, "metadata", NULL);

    if (description->declared)
        add_keys(metadata, description->declared);
    if (description->stamp)
        apmig_stamp_add_element(metadata, description->stamp);
    else if (description->stamp_problem)
        apmig_stamp_add_unreadable(metadata, description->stamp_problem->message);
}

static void
add_hostdev(xmlNode *devices, const char *model, const char *uuid)
{
    xmlNode *hostdev = add_element(devices, "hostdev", NULL);

    set_attribute(hostdev, "mode", "subsystem");
    set_attribute(hostdev, "type", "mdev");
    set_attribute(hostdev, "model", model);
    if (uuid)
        set_attribute(add_element(add_element(hostdev, "source", NULL), "address", NULL), "uuid", uuid);
}

/* Built anew, so that nothing comes along. */
static char *
reduce(const Description *description)
{
    g_autoptr(ApmigScope) declared = find_declared(description);
    g_autoptr(Document) document = NULL;
    xmlNode *domain, *devices;
    xmlChar *dump = NULL;
    char *reduced;

    document = xmlNewDoc((const xmlChar *)"1.0");
    domain = xmlNewDocNode(document, NULL, (const xmlChar *)"domain", NULL);
    xmlDocSetRootElement(document, domain);
    add_element(domain, "name", description->name);
    add_element(domain, "uuid", description->uuid);
    add_metadata(domain, description);
    devices = add_element(domain, "devices", NULL);
    for (guint i = 0; i < description->uuids->len; i++)
        add_hostdev(devices, "vfio-ap", g_ptr_array_index(description->uuids, i));
    if (description->n_unnamed > 0)
        add_hostdev(devices, "vfio-ap", NULL);
    for (guint i = 0; declared && i < description->others->len; i++)
        add_hostdev(devices, "vfio-pci", g_ptr_array_index(description->others, i));
    xmlDocDumpMemoryEnc(document, &dump, NULL, "UTF-8");
    reduced = g_strdup((const char *)dump);
    xmlFree(dump);
    return reduced;
}

char *
apmig_guest_reduce(const char *xml, gsize length, GError **error)
{
    g_auto(Description) description = {0};

    return describe(xml, length, &description, error) ? reduce(&description) : NULL;
}

char *
apmig_guest_reduce_stamped(const char *xml, gsize length, ApmigStamp *stamp, GError **error)
{
    g_auto(Description) description = {0};
    gboolean described = describe(xml, length, &description, error);

    apmig_stamp_free(description.stamp);
    description.stamp = stamp;
    g_clear_error(&description.stamp_problem);
    return described ? reduce(&description) : NULL;
}

/* --- other devices ------------------------------------------------------------------------------- */

/* Notes in @replaced whose place was taken. */
static void
replace_device(xmlNode *hostdev, GHashTable *device_map, GHashTable *replaced)
{
    xmlNode *source = first_child(hostdev, "source");
    xmlNode *address = source ? first_child(source, "address") : NULL;
    g_autofree char *uuid = address ? get_attribute(address, "uuid") : NULL;
    g_autofree char *lower = uuid ? g_ascii_strdown(uuid, -1) : NULL;
    const char *device = lower ? g_hash_table_lookup(device_map, lower) : NULL;

    if (!device)
        return;
    xmlSetProp(address, (const xmlChar *)"uuid", (const xmlChar *)device);
    g_hash_table_add(replaced, g_steal_pointer(&lower));
}

static void
replace_devices(const xmlNode *domain, GHashTable *device_map, GHashTable *replaced)
{
    for (const xmlNode *devices = domain->children; devices; devices = devices->next) {
        if (!is_element(devices, "devices"))
            continue;
        for (xmlNode *node = devices->children; node; node = node->next)
            if (is_element(node, "hostdev") && is_mediated(node))
                replace_device(node, device_map, replaced);
    }
}

char *
apmig_guest_replace_devices(const char *xml, gsize length, GHashTable *device_map, GError **error)
{
    g_autoptr(Document) document = parse(xml, length, error);
    const xmlNode *domain = document ? xmlDocGetRootElement(document) : NULL;
    g_autoptr(GHashTable) replaced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    xmlChar *dump = NULL;
    char *text;

    if (!document)
        return NULL;
    if (domain)
        replace_devices(domain, device_map, replaced);
    if (g_hash_table_size(replaced) != g_hash_table_size(device_map)) {
        fail(error, "the domain XML has no mediated device of a UUID that was to be replaced");
        return NULL;
    }
    xmlDocDumpMemoryEnc(document, &dump, NULL, "UTF-8");
    text = g_strdup((const char *)dump);
    xmlFree(dump);
    return text;
}
