/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/xml.h"
#include "guest/document.h"
#include "guest/stamp-xml.h"
#include "base/text.h"
#include "base/error.h"

#include <libxml/tree.h>
#include <string.h>

#define KEYS_PREFIX     "apmigd"
#define MAX_NAME_LENGTH 255

/* Of <qemu:commandline>: virQEMUDriverDomainXMLNamespace of libvirt's src/qemu/qemu_domain.c. */
#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

/* What the XML says, before it is drawn together. */
typedef struct {
    char *name, *uuid; /* "" where the guest is not affected and they are not fit for us */
    char *declared;    /* the scope in our metadata element, one that reads; NULL: there is no such element */
    guint n_devices;   /* vfio-ap hostdevs, and one for those that QEMU's command line names */
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

/* Returns: (transfer full) (nullable) */
static char *
get_child_text(const xmlNode *parent, const char *name)
{
    xmlNode *child = first_child(parent, name);
    xmlChar *content = child ? xmlNodeGetContent(child) : NULL;
    char *text = g_strdup((const char *)content);

    xmlFree(content);
    return text;
}

static gboolean
has_several(const xmlNode *parent, const char *name)
{
    guint n = 0;

    for (xmlNode *node = parent->children; node; node = node->next)
        n += is_element(node, name);
    return n > 1;
}

/* As virUUIDParse() of libvirt's src/util/viruuid.c: hyphens and blanks anywhere between pairs of digits, and white space
 * around. Returns: (transfer full) (nullable): lower case, in the canonical form; NULL when @text is none. */
static char *
normalize_uuid(const char *text)
{
    g_autoptr(GString) uuid = g_string_new(NULL);
    const char *p = text;

    while (g_ascii_isspace(*p))
        p++;
    while (uuid->len < 36) {
        if (*p == '-' || *p == ' ') {
            p++;
            continue;
        }
        if (!g_ascii_isxdigit(p[0]) || !g_ascii_isxdigit(p[1]))
            return NULL;
        g_string_append_c(uuid, g_ascii_tolower(p[0]));
        g_string_append_c(uuid, g_ascii_tolower(p[1]));
        p += 2;
        if (uuid->len == 8 || uuid->len == 13 || uuid->len == 18 || uuid->len == 23)
            g_string_append_c(uuid, '-');
    }
    while (g_ascii_isspace(*p))
        p++;
    return *p ? NULL : g_string_free(g_steal_pointer(&uuid), FALSE);
}

static gboolean
check_name(const char *name, GError **error)
{
    g_autofree char *shown = apmig_text_escape(name ? name : "", 100);

    if (name && *name && apmig_text_is_plain(name, MAX_NAME_LENGTH))
        return TRUE;
    return fail(error,
                "its name in the domain XML, \"%s\", is empty, longer than %d bytes, or has control "
                "characters: give it another one, as with 'virsh migrate --dname', or with 'virsh domrename' "
                "while it is shut off",
                shown, MAX_NAME_LENGTH);
}

static gboolean
check_uuid(const char *text, const char *uuid, GError **error)
{
    g_autofree char *shown = apmig_text_escape(text ? text : "", 100);

    if (uuid)
        return TRUE;
    if (!text)
        return fail(error, "the domain XML has no <uuid>; libvirt always writes one: see what the hook "
                           "scripts that run before apmigd's print");
    return fail(
        error,
        "the <uuid> in the domain XML, \"%s\", is no UUID; libvirt always writes one: see what the hook "
        "scripts that run before apmigd's print",
        shown);
}

/* Of an affected guest: it is kept in files, and told apart by its UUID from others. */
static gboolean
read_identity(const xmlNode *domain, Description *description, GError **error)
{
    g_autofree char *name = get_child_text(domain, "name");
    g_autofree char *text = get_child_text(domain, "uuid");
    g_autofree char *uuid = text ? normalize_uuid(text) : NULL;

    if (has_several(domain, "name"))
        return fail(error, "the domain XML has more than one <name>");
    if (has_several(domain, "uuid"))
        return fail(error, "the domain XML has more than one <uuid>");
    if (!check_name(name, error) || !check_uuid(text, uuid, error))
        return FALSE;
    description->name = g_steal_pointer(&name);
    description->uuid = g_steal_pointer(&uuid);
    return TRUE;
}

/* Of one that is not: libvirt lets it have any name, and so do we. */
static void
guess_identity(const xmlNode *domain, Description *description)
{
    g_autofree char *name = get_child_text(domain, "name");
    g_autofree char *text = get_child_text(domain, "uuid");
    char *uuid = text ? normalize_uuid(text) : NULL;

    description->name = apmig_text_escape(name ? name : "", MAX_NAME_LENGTH);
    description->uuid = uuid ? uuid : g_strdup("");
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
    g_autofree char *lower = uuid ? normalize_uuid(uuid) : NULL;

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
is_of_qemu(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns && strcmp((const char *)node->name, name) == 0 &&
           strcmp((const char *)node->ns->href, QEMU_NAMESPACE) == 0;
}

/* Arguments that go to QEMU as they are: a device among them is one that libvirt knows nothing of. */
static void
read_command_line(const xmlNode *command_line, Description *description)
{
    gboolean has_device = FALSE;

    for (xmlNode *node = command_line->children; node; node = node->next) {
        g_autofree char *value = is_of_qemu(node, "arg") ? get_attribute(node, "value") : NULL;

        has_device |= value && apmig_argument_names_vfio_ap(value);
    }
    description->n_devices += has_device;
    description->n_unnamed += has_device;
}

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

static gboolean
is_affected(const Description *description)
{
    g_autoptr(ApmigScope) declared = find_declared(description);

    return description->n_devices > 0 || declared;
}

static gboolean
describe_domain(const xmlNode *domain, Description *description, GError **error)
{
    for (const xmlNode *node = domain->children; node; node = node->next) {
        if (is_element(node, "metadata"))
            read_metadata(node, description);
        else if (is_of_qemu(node, "commandline"))
            read_command_line(node, description);
        else if (is_element(node, "devices") && !read_devices(node, description, error))
            return FALSE;
    }
    if (is_affected(description))
        return read_identity(domain, description, error);
    guess_identity(domain, description);
    return TRUE;
}

static gboolean
describe(const char *xml, gsize length, Description *description, GError **error)
{
    g_autoptr(GError) problem = NULL;
    gboolean is_free = FALSE;
    g_autoptr(Document) document = apmig_document_read(xml, length, &is_free, &problem);

    description->uuids = g_ptr_array_new_with_free_func(g_free);
    description->others = g_ptr_array_new_with_free_func(g_free);
    if (document)
        return describe_domain(xmlDocGetRootElement(document), description, error);
    if (!is_free) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    description->name = g_strdup("");
    description->uuid = g_strdup("");
    return TRUE;
}

/* --- the guest ----------------------------------------------------------------------------------- */

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
    if (*description->name)
        add_element(domain, "name", description->name);
    if (*description->uuid)
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
    g_autofree char *lower = uuid ? normalize_uuid(uuid) : NULL;
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
    gboolean is_free = FALSE;
    g_autoptr(Document) document = apmig_document_read(xml, length, &is_free, error);
    g_autoptr(GHashTable) replaced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    xmlChar *dump = NULL;
    char *text;

    if (!document)
        return NULL;
    replace_devices(xmlDocGetRootElement(document), device_map, replaced);
    if (g_hash_table_size(replaced) != g_hash_table_size(device_map)) {
        fail(error, "the domain XML has no mediated device of a UUID that was to be replaced");
        return NULL;
    }
    xmlDocDumpMemoryEnc(document, &dump, NULL, "UTF-8");
    text = g_strdup((const char *)dump);
    xmlFree(dump);
    return text;
}
