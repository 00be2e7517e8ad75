/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/stamp-xml.h"

#include <libxml/parser.h>
#include <string.h>

#include "ap/find.h"
#include "ap/text.h"
#include "base/error.h"
#include "stamp/stamp.h"
#include "base/text.h"

#define MAX_TEXT_LENGTH    256 /* of what people wrote: reasons, names */
#define MAX_PROBLEM_LENGTH 300
#define DIGEST_LENGTH      64

static const char *const register_names[] = {
    [APMIG_REGISTER_NEW] = "new", [APMIG_REGISTER_CUR] = "cur", [APMIG_REGISTER_OLD] = "old"};

G_STATIC_ASSERT(G_N_ELEMENTS(register_names) == APMIG_N_REGISTERS);

/* --- attributes ---------------------------------------------------------------------------------- */

static gboolean
fail(const xmlNode *element, const char *name, GError **error)
{
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST, "<%s> has no %s, or one of another form",
                (const char *)element->name, name);
    return FALSE;
}

/* Returns: (transfer full) (nullable): NULL without such an attribute, and for a text that is not fit to be kept. */
static char *
get(xmlNode *element, const char *name)
{
    xmlChar *value = xmlGetNoNsProp(element, (const xmlChar *)name);
    char *text = value && apmig_text_is_plain((const char *)value, MAX_TEXT_LENGTH)
                     ? g_strdup((const char *)value)
                     : NULL;

    xmlFree(value);
    return text;
}

static gboolean
has(xmlNode *element, const char *name)
{
    return xmlHasProp(element, (const xmlChar *)name) != NULL;
}

static gboolean
read_text(xmlNode *element, const char *name, char **ret_text, GError **error)
{
    *ret_text = get(element, name);
    return *ret_text || fail(element, name, error);
}

/* Digits alone: no sign, no white space. */
static gboolean
read_time(xmlNode *element, const char *name, gint64 *ret_time, GError **error)
{
    g_autofree char *text = get(element, name);

    return (text && g_ascii_isdigit(*text) &&
            g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, ret_time, NULL)) ||
           fail(element, name, error);
}

/* --- reading: the lock --------------------------------------------------------------------------- */

static ApmigStampLock *
read_lock(xmlNode *element, GError **error)
{
    g_autoptr(ApmigStampLock) lock = g_new0(ApmigStampLock, 1);

    if (!read_text(element, "id", &lock->id, error) || !read_text(element, "owner", &lock->owner, error) ||
        !read_text(element, "reason", &lock->reason, error) ||
        !read_time(element, "since", &lock->since, error))
        return NULL;
    if (!apmig_lock_id_is_valid(lock->id)) {
        fail(element, "id", error);
        return NULL;
    }
    return g_steal_pointer(&lock);
}

/* --- reading: keys ------------------------------------------------------------------------------- */

/* As in the kernel's file: see apmig_mkvps_parse(). */
static gboolean
may_have_pattern(ApmigKeyState state)
{
    return state == APMIG_KEY_STATE_FULL || state == APMIG_KEY_STATE_UNCOMMITTED ||
           state == APMIG_KEY_STATE_COMMITTED || state == APMIG_KEY_STATE_VALID;
}

/* A state, and after a space the pattern where there is one. */
static gboolean
parse_register(const char *text, ApmigKeyClass key_class, ApmigKeyRegister *ret_register)
{
    const char *space = strchr(text, ' ');
    g_autofree char *word = space ? g_strndup(text, space - text) : g_strdup(text);

    if (!apmig_key_state_from_string(word, &ret_register->state))
        return FALSE;
    return !space || (may_have_pattern(ret_register->state) &&
                      apmig_key_pattern_parse(space + 1, apmig_key_class_said_bytes(key_class, space + 1),
                                              ret_register));
}

static gboolean
read_registers(xmlNode *element, ApmigEvidenceRecord *record, GError **error)
{
    for (guint i = 0; i < APMIG_N_REGISTERS; i++) {
        g_autofree char *text = get(element, register_names[i]);

        if (!text && i != APMIG_REGISTER_CUR && !has(element, register_names[i]))
            continue;
        if (!text || !parse_register(text, record->key_class, &record->registers[i]))
            return fail(element, register_names[i], error);
    }
    return TRUE;
}

static gboolean
read_key(xmlNode *element, const ApmigApViewQueue *queue, ApmigEvidence *keys, GError **error)
{
    g_autoptr(ApmigEvidenceRecord) record = g_new0(ApmigEvidenceRecord, 1);
    g_autofree char *key_class = get(element, "class");
    g_autofree char *evidence = get(element, "evidence");

    record->adapter = queue->adapter;
    record->domain = queue->domain;
    if (!key_class || !apmig_key_class_from_string(key_class, &record->key_class) ||
        apmig_evidence_lookup(keys, queue->adapter, queue->domain, record->key_class))
        return fail(element, "class", error);
    if (!evidence || !apmig_evidence_class_from_string(evidence, &record->evidence) ||
        record->evidence == APMIG_EVIDENCE_UNKNOWN)
        return fail(element, "evidence", error);
    if (!read_text(element, "source", &record->source, error) ||
        !read_time(element, "at", &record->at, error) || !read_registers(element, record, error))
        return FALSE;
    apmig_evidence_add(keys, record, NULL);
    return TRUE;
}

/* --- reading: queues ----------------------------------------------------------------------------- */

static gboolean
is_ours(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns && strcmp((const char *)node->name, name) == 0 &&
           strcmp((const char *)node->ns->href, APMIG_STAMP_NAMESPACE) == 0;
}

gboolean
apmig_stamp_is_element(const xmlNode *node)
{
    return is_ours(node, "stamp");
}

static gboolean
read_mode(xmlNode *element, ApmigApMode *ret_mode, GError **error)
{
    g_autofree char *text = get(element, "mode");

    for (guint mode = APMIG_AP_MODE_UNKNOWN; text && mode <= APMIG_AP_MODE_ACCELERATOR; mode++) {
        if (strcmp(text, apmig_ap_mode_to_string((ApmigApMode)mode)) == 0) {
            *ret_mode = (ApmigApMode)mode;
            return TRUE;
        }
    }
    return fail(element, "mode", error);
}

static gboolean
read_functions(xmlNode *element, ApmigApViewQueue *queue, GError **error)
{
    g_autofree char *functions = get(element, "functions");
    g_autofree char *known = get(element, "known");
    g_autofree char *hwtype = get(element, "raw-hwtype");

    if (!functions || !apmig_ap_parse_functions(functions, &queue->functions))
        return fail(element, "functions", error);
    if (!known || !apmig_ap_parse_functions(known, &queue->known_functions) ||
        (queue->functions & ~queue->known_functions) != 0)
        return fail(element, "known", error);
    if (!hwtype || !apmig_ap_parse_number(hwtype, &queue->raw_hwtype))
        return fail(element, "raw-hwtype", error);
    return TRUE;
}

/* By adapter and domain, so that none is there twice. */
static gboolean
read_place(xmlNode *element, const ApmigApView *view, ApmigApViewQueue *queue, GError **error)
{
    g_autofree char *name = get(element, "at");
    const ApmigApViewQueue *last =
        view->queues->len > 0 ? &g_array_index(view->queues, ApmigApViewQueue, view->queues->len - 1) : NULL;
    ApmigApqn at;

    if (!name || !apmig_ap_parse_queue_name(name, &at) ||
        (last && (last->adapter > at.adapter || (last->adapter == at.adapter && last->domain >= at.domain))))
        return fail(element, "at", error);
    queue->adapter = at.adapter;
    queue->domain = at.domain;
    return TRUE;
}

static gboolean
read_queue(xmlNode *element, ApmigStamp *stamp, GError **error)
{
    ApmigApViewQueue queue = {0};

    if (!read_place(element, stamp->view, &queue, error) || !read_mode(element, &queue.mode, error))
        return FALSE;
    if (stamp->keys) {
        if (!read_functions(element, &queue, error))
            return FALSE;
        for (xmlNode *node = element->children; node; node = node->next)
            if (is_ours(node, "key") && !read_key(node, &queue, stamp->keys, error))
                return FALSE;
    }
    g_array_append_val(stamp->view->queues, queue);
    return TRUE;
}

static gboolean
read_device(xmlNode *element, ApmigStamp *stamp, GError **error)
{
    g_autofree char *uuid = get(element, "device");

    if (!uuid || !g_uuid_string_is_valid(uuid))
        return fail(element, "device", error);
    stamp->device = g_ascii_strdown(uuid, -1);
    return TRUE;
}

static gboolean
read_declared(xmlNode *element, ApmigStamp *stamp, GError **error)
{
    g_autofree char *text = get(element, "declared");

    if (!has(element, "declared"))
        return TRUE;
    stamp->is_declared = TRUE;
    return g_strcmp0(text, "yes") == 0 || fail(element, "declared", error);
}

static gboolean
read_queues(xmlNode *element, ApmigStamp *stamp, GError **error)
{
    stamp->view = apmig_ap_view_new();
    if (!read_declared(element, stamp, error) ||
        (has(element, "device") && !read_device(element, stamp, error)))
        return FALSE;
    if (stamp->keys && has(element, "control-domains")) {
        g_autofree char *mask = get(element, "control-domains");

        if (!mask || apmig_ap_parse_mask(mask, &stamp->view->control_domains) != APMIG_YES)
            return fail(element, "control-domains", error);
        stamp->view->has_control_domains = APMIG_YES;
    }
    for (xmlNode *node = element->children; node; node = node->next)
        if (is_ours(node, "queue") && !read_queue(node, stamp, error))
            return FALSE;
    return TRUE;
}

/* --- reading: the whole -------------------------------------------------------------------------- */

static gboolean
is_digest(const char *text)
{
    return strlen(text) == DIGEST_LENGTH && strspn(text, "0123456789abcdef") == DIGEST_LENGTH;
}

static gboolean
read_attributes(xmlNode *element, ApmigStamp *stamp, GError **error)
{
    g_autofree char *text = get(element, "form");
    g_autofree char *host = get(element, "host");
    ApmigStampForm form;

    if (!text || !apmig_stamp_form_from_string(text, &form) || form == APMIG_STAMP_OFF)
        return fail(element, "form", error);
    if (form == APMIG_STAMP_FULL)
        stamp->keys = apmig_evidence_new();
    if (!host || !g_uuid_string_is_valid(host))
        return fail(element, "host", error);
    stamp->host_id = g_ascii_strdown(host, -1);
    if (has(element, "host-name") && !read_text(element, "host-name", &stamp->host_name, error))
        return FALSE;
    if (!read_time(element, "written-at", &stamp->written_at, error) ||
        !read_text(element, "digest", &stamp->digest, error))
        return FALSE;
    return TRUE;
}

static gboolean
read_children(xmlNode *element, ApmigStamp *stamp, GError **error)
{
    for (xmlNode *node = element->children; node; node = node->next) {
        if (is_ours(node, "lock")) {
            if (stamp->lock)
                return fail(element, "single lock", error);
            stamp->lock = read_lock(node, error);
            if (!stamp->lock)
                return FALSE;
        } else if (is_ours(node, "queues")) {
            if (stamp->view)
                return fail(element, "single queues", error);
            if (!read_queues(node, stamp, error))
                return FALSE;
        }
    }
    /* There is a digest where there is something that it can be of. */
    return (stamp->view ? is_digest(stamp->digest) : *stamp->digest == '\0') ||
           fail(element, "digest", error);
}

ApmigStamp *
apmig_stamp_read(xmlNode *element, GError **error)
{
    g_autoptr(ApmigStamp) stamp = g_new0(ApmigStamp, 1);
    xmlChar *problem = xmlGetNoNsProp(element, (const xmlChar *)"unreadable");

    if (problem) {
        g_autofree char *shown = apmig_text_escape((const char *)problem, MAX_PROBLEM_LENGTH);

        xmlFree(problem);
        g_set_error_literal(error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST, shown);
        return NULL;
    }
    if (!read_attributes(element, stamp, error) || !read_children(element, stamp, error))
        return NULL;
    return g_steal_pointer(&stamp);
}

/* --- writing ------------------------------------------------------------------------------------- */

static xmlNode *
add_element(xmlNode *parent, xmlNs *ns, const char *name)
{
    return xmlNewChild(parent, ns, (const xmlChar *)name, NULL);
}

static void
set(xmlNode *element, const char *name, const char *value)
{
    xmlNewProp(element, (const xmlChar *)name, (const xmlChar *)value);
}

G_GNUC_PRINTF(3, 4)
static void
set_printf(xmlNode *element, const char *name, const char *format, ...)
{
    g_autofree char *value = NULL;
    va_list args;

    va_start(args, format);
    value = g_strdup_vprintf(format, args);
    va_end(args);
    set(element, name, value);
}

/* As get() takes it. U+FFFE and U+FFFF are UTF-8 but no characters of XML (its production Char): a document with one does
 * not parse, so U+FFFD takes their place. */
static void
set_text(xmlNode *element, const char *name, const char *value)
{
    g_autofree char *fit = apmig_text_escape(value, MAX_TEXT_LENGTH);

    for (char *p = fit; (p = strstr(p, "\xef\xbf")) != NULL; p += strlen("\xef\xbf\xbd"))
        p[2] = MIN((guchar)p[2], 0xbd);
    set(element, name, fit);
}

static void
add_lock(xmlNode *parent, xmlNs *ns, const ApmigStampLock *lock)
{
    xmlNode *element = add_element(parent, ns, "lock");

    set_text(element, "id", lock->id);
    set_text(element, "owner", lock->owner);
    set_printf(element, "since", "%" G_GINT64_FORMAT, MAX(lock->since, 0));
    set_text(element, "reason", lock->reason);
}

static void
add_key(xmlNode *parent, xmlNs *ns, const ApmigEvidenceRecord *record)
{
    xmlNode *element = add_element(parent, ns, "key");

    set(element, "class", apmig_key_class_to_string(record->key_class));
    set(element, "evidence", apmig_evidence_class_to_string(record->evidence));
    set_printf(element, "at", "%" G_GINT64_FORMAT, MAX(record->at, 0));
    set_text(element, "source", record->source);
    for (guint i = 0; i < APMIG_N_REGISTERS; i++) {
        const ApmigKeyRegister *reg = &record->registers[i];
        g_autofree char *pattern = apmig_key_pattern_to_string(reg);
        const char *state = apmig_key_state_to_string(reg->state);

        set_printf(element, register_names[i], "%s%s%s", state, reg->length > 0 ? " " : "",
                   reg->length > 0 ? pattern : "");
    }
}

static void
add_queue(xmlNode *parent, xmlNs *ns, const ApmigApViewQueue *queue, const ApmigEvidence *keys)
{
    xmlNode *element = add_element(parent, ns, "queue");
    g_autofree char *name = apmig_ap_queue_name(queue->adapter, queue->domain);

    set(element, "at", name);
    set(element, "mode", apmig_ap_mode_to_string(queue->mode));
    if (!keys)
        return;
    set_printf(element, "functions", "0x%08x", queue->functions);
    set_printf(element, "known", "0x%08x", queue->known_functions);
    set_printf(element, "raw-hwtype", "%u", queue->raw_hwtype);
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigEvidenceRecord *record =
            apmig_evidence_lookup(keys, queue->adapter, queue->domain, (ApmigKeyClass)i);

        if (record)
            add_key(element, ns, record);
    }
}

static void
add_queues(xmlNode *parent, xmlNs *ns, const ApmigStamp *stamp, const ApmigEvidence *keys)
{
    const ApmigApView *view = stamp->view;
    xmlNode *element = add_element(parent, ns, "queues");

    if (stamp->device)
        set(element, "device", stamp->device);
    if (stamp->is_declared)
        set(element, "declared", "yes");
    if (view->has_control_domains == APMIG_YES && keys) {
        g_autoptr(GString) mask = g_string_new("0x");

        for (gsize i = 0; i < sizeof view->control_domains.bytes; i++)
            g_string_append_printf(mask, "%02x", view->control_domains.bytes[i]);
        set(element, "control-domains", mask->str);
    }
    for (guint i = 0; i < view->queues->len; i++)
        add_queue(element, ns, &g_array_index(view->queues, ApmigApViewQueue, i), keys);
}

static void
fill_element(xmlNode *element, xmlNs *ns, const ApmigStamp *stamp, ApmigStampForm form, gboolean with_queues)
{
    const ApmigStampForm real = stamp->keys ? form : APMIG_STAMP_DIGEST;
    const gboolean has_queues = with_queues && stamp->view;

    set(element, "form", apmig_stamp_form_words[real]);
    set(element, "host", stamp->host_id);
    if (stamp->host_name)
        set_text(element, "host-name", stamp->host_name);
    set_printf(element, "written-at", "%" G_GINT64_FORMAT, stamp->written_at);
    set(element, "digest", has_queues ? stamp->digest : "");
    if (stamp->lock)
        add_lock(element, ns, stamp->lock);
    if (has_queues)
        add_queues(element, ns, stamp, real == APMIG_STAMP_FULL ? stamp->keys : NULL);
}

static xmlNode *
add_stamp(xmlNode *parent, xmlNs **ret_ns)
{
    xmlNode *element = add_element(parent, NULL, "stamp");

    *ret_ns = xmlNewNs(element, (const xmlChar *)APMIG_STAMP_NAMESPACE, (const xmlChar *)APMIG_STAMP_PREFIX);
    xmlSetNs(element, *ret_ns);
    return element;
}

void
apmig_stamp_add_element(xmlNode *parent, const ApmigStamp *stamp)
{
    xmlNs *ns;
    xmlNode *element = add_stamp(parent, &ns);

    fill_element(element, ns, stamp, APMIG_STAMP_FULL, TRUE);
}

void
apmig_stamp_add_unreadable(xmlNode *parent, const char *problem)
{
    xmlNs *ns;
    xmlNode *element = add_stamp(parent, &ns);
    g_autofree char *fit = apmig_text_escape(problem, MAX_PROBLEM_LENGTH);

    set(element, "unreadable", fit);
}

/* Returns: (transfer full) (nullable): NULL when it is too long. */
static char *
dump(const ApmigStamp *stamp, ApmigStampForm form, gboolean with_queues)
{
    xmlDoc *document = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *element = xmlNewDocNode(document, NULL, (const xmlChar *)"stamp", NULL);
    xmlBuffer *buffer = xmlBufferCreate();
    char *text = NULL;

    xmlDocSetRootElement(document, element);
    fill_element(element, NULL, stamp, form, with_queues);
    xmlNodeDump(buffer, document, element, 0, 0);
    if (xmlBufferLength(buffer) <= APMIG_STAMP_MAX_BYTES)
        text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    xmlFreeDoc(document);
    return text;
}

char *
apmig_stamp_to_xml(const ApmigStamp *stamp, ApmigStampForm form)
{
    char *text = dump(stamp, form, TRUE);

    if (!text && form == APMIG_STAMP_FULL)
        text = dump(stamp, APMIG_STAMP_DIGEST, TRUE);
    return text ? text : dump(stamp, APMIG_STAMP_DIGEST, FALSE);
}

void
apmig_stamp_fit(ApmigStamp *stamp, ApmigStampForm form)
{
    g_autofree char *full = form == APMIG_STAMP_FULL ? dump(stamp, form, TRUE) : NULL;
    g_autofree char *digest = NULL;

    if (full)
        return;
    g_clear_pointer(&stamp->keys, apmig_evidence_free);
    digest = dump(stamp, APMIG_STAMP_DIGEST, TRUE);
    if (digest)
        return;
    g_clear_pointer(&stamp->view, apmig_ap_view_free);
    g_free(stamp->digest);
    stamp->digest = g_strdup("");
}

/* --- reading what is to be written ---------------------------------------------------------------- */

/* As libvirt does to what it is given (virXMLInjectNamespace()). */
static void
take_into_namespace(xmlNode *element, xmlNs *ns)
{
    if (!element->ns)
        xmlSetNs(element, ns);
    for (xmlNode *child = element->children; child; child = child->next)
        if (child->type == XML_ELEMENT_NODE)
            take_into_namespace(child, ns);
}

static ApmigStamp *
read_root(xmlDoc *document, GError **error)
{
    xmlNode *root = document ? xmlDocGetRootElement(document) : NULL;

    if (!root || root->ns || strcmp((const char *)root->name, "stamp") != 0) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST, "it is not one element <stamp>");
        return NULL;
    }
    take_into_namespace(
        root, xmlNewNs(root, (const xmlChar *)APMIG_STAMP_NAMESPACE, (const xmlChar *)APMIG_STAMP_PREFIX));
    return apmig_stamp_read(root, error);
}

ApmigStamp *
apmig_stamp_from_xml(const char *text, GError **error)
{
    const gsize length = strlen(text);
    g_autoptr(ApmigStamp) stamp = NULL;
    g_autofree char *again = NULL;
    xmlDoc *document = NULL;

    /* Nothing that is declared, which could stand for more than is read here. */
    if (length <= APMIG_STAMP_MAX_BYTES && !strstr(text, "<!") && !strstr(text, "<?"))
        document = xmlReadMemory(text, (int)length, NULL, NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    stamp = read_root(document, error);
    xmlFreeDoc(document);
    if (!stamp)
        return NULL;
    again = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
    if (g_str_equal(again, text))
        return g_steal_pointer(&stamp);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST, "there is more in it than apmigd writes");
    return NULL;
}
