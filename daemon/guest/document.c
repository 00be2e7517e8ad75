/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/document.h"

#include "base/error.h"
#include "base/text.h"

#include <libxml/parser.h>
#include <string.h>

#define DEVICE_MODEL "vfio-ap"
#define OUR_ELEMENTS "urn:apmigd:"

#define OF_A_HOOK                                                                                            \
    "libvirt itself writes no such XML: see what the hook scripts that run before apmigd's print"

typedef xmlDoc Document;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Document, xmlFreeDoc)
typedef xmlParserCtxt ParserContext;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ParserContext, xmlFreeParserCtxt)

/* What is noticed while it is parsed; the context's _private. */
typedef struct {
    gboolean has_entities;
    gboolean names_us; /* a vfio-ap device, or an element of ours */
} Notes;

G_GNUC_PRINTF(2, 3)
static void
fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(APMIG_ERROR, APMIG_ERROR_INVALID_GUEST, format, args);
    va_end(args);
}

/* --- what is looked for -------------------------------------------------------------------------- */

/* @text: JSON or not. Returns: (transfer full): with characters that JSON escapes by number in their place, as far as they
 * are ASCII. */
static char *
unescape(const char *text)
{
    GString *plain = g_string_new(NULL);

    for (const char *p = text; *p; p++) {
        if (g_str_has_prefix(p, "\\u00") && g_ascii_isxdigit(p[4]) && g_ascii_isxdigit(p[5])) {
            g_string_append_c(plain, (char)(g_ascii_xdigit_value(p[4]) * 16 + g_ascii_xdigit_value(p[5])));
            p += strlen("u00xx");
        } else {
            g_string_append_c(plain, *p);
        }
    }
    return g_string_free(plain, FALSE);
}

gboolean
apmig_argument_names_vfio_ap(const char *text)
{
    g_autofree char *plain = strchr(text, '\\') ? unescape(text) : NULL;

    return strstr(plain ? plain : text, DEVICE_MODEL) != NULL;
}

static gboolean
bytes_name_us(const char *xml, gsize length)
{
    if (!xml || length == 0) /* there may be no text at all */
        return FALSE;
    return memmem(xml, length, DEVICE_MODEL, strlen(DEVICE_MODEL)) ||
           memmem(xml, length, OUR_ELEMENTS, strlen(OUR_ELEMENTS));
}

/* startElementNs of libxml2's xmlSAXHandler: two strings for each namespace, five for each attribute. */
static void
look_at_element(void *data, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int n_namespaces,
                const xmlChar **namespaces, int n_attributes, int n_defaulted, const xmlChar **attributes)
{
    const ParserContext *context = data;
    Notes *notes = context->_private;

    for (int i = 0; i < n_namespaces; i++) {
        const char *declared = (const char *)namespaces[2 * i + 1];

        notes->names_us |= declared && g_str_has_prefix(declared, OUR_ELEMENTS);
    }
    for (int i = 0; i < n_attributes; i++) {
        const char *begin = (const char *)attributes[5 * i + 3];
        g_autofree char *value = g_strndup(begin, (const char *)attributes[5 * i + 4] - begin);

        notes->names_us |= apmig_argument_names_vfio_ap(value);
    }
}

/* --- parsing ------------------------------------------------------------------------------------- */

/* None is known then, and so none is expanded or fetched. */
static void
stop_at_entity(void *data, const xmlChar *name, int type, const xmlChar *public_id, const xmlChar *system_id,
               xmlChar *content)
{
    ParserContext *context = data;
    Notes *notes = context->_private;

    notes->has_entities = TRUE;
    xmlStopParser(context);
}

static ParserContext *
new_context(Notes *notes)
{
    ParserContext *context = xmlNewParserCtxt();

    context->_private = notes;
    context->sax->entityDecl = stop_at_entity;
    context->sax->externalSubset = NULL;
    return context;
}

/* Nothing of it is kept. */
static void
only_look(ParserContext *context)
{
    xmlSAXHandler *sax = context->sax;

    sax->startElementNs = look_at_element;
    sax->endElementNs = NULL;
    sax->characters = NULL;
    sax->ignorableWhitespace = NULL;
    sax->cdataBlock = NULL;
    sax->comment = NULL;
    sax->processingInstruction = NULL;
    sax->reference = NULL;
}

static Document *
parse(ParserContext *context, const char *xml, gsize length)
{
    return xmlCtxtReadMemory(context, xml, (int)length, NULL, NULL,
                             XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
}

static void
fail_to_parse(ParserContext *context, GError **error)
{
    const xmlError *cause = xmlCtxtGetLastError(context);
    g_autofree char *text = g_strchomp(g_strdup(cause && cause->message ? cause->message : "it is no XML"));
    g_autofree char *message = apmig_text_escape(text, 100);

    fail(error, "the domain XML does not parse, line %d: %s; " OF_A_HOOK, cause ? cause->line : 1, message);
}

/* Of a text that is too long. Returns: whether it is free, as of apmig_document_read(). */
static gboolean
look_through(const char *xml, gsize length)
{
    Notes notes = {0};
    g_autoptr(ParserContext) context = new_context(&notes);
    g_autoptr(Document) document = NULL;

    if (length > G_MAXINT)
        return FALSE;
    only_look(context);
    document = parse(context, xml, length);
    if (notes.has_entities)
        return FALSE;
    return document ? !notes.names_us : !bytes_name_us(xml, length);
}

static gboolean
is_domain(const Document *document)
{
    const xmlNode *root = xmlDocGetRootElement(document);

    return root && !root->ns && strcmp((const char *)root->name, "domain") == 0;
}

xmlDoc *
apmig_document_read(const char *xml, gsize length, gboolean *ret_is_free, GError **error)
{
    Notes notes = {0};
    g_autoptr(ParserContext) context = NULL;
    g_autoptr(Document) document = NULL;

    if (length > APMIG_GUEST_XML_MAX_BYTES) {
        *ret_is_free = look_through(xml, length);
        fail(error, "the domain XML has %" G_GSIZE_FORMAT " bytes, more than %d; " OF_A_HOOK, length,
             APMIG_GUEST_XML_MAX_BYTES);
        return NULL;
    }
    context = new_context(&notes);
    document = parse(context, xml, length);
    if (document && !notes.has_entities && is_domain(document))
        return g_steal_pointer(&document);

    *ret_is_free = !notes.has_entities && !bytes_name_us(xml, length);
    if (notes.has_entities)
        fail(error, "the domain XML declares entities, which could name a vfio-ap device; " OF_A_HOOK);
    else if (document)
        fail(error, "the XML is no <domain>");
    else
        fail_to_parse(context, error);
    return NULL;
}
