/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/text.h"

#include <string.h>

#define ADAPTER_DIGITS  2
#define DOMAIN_DIGITS   4
#define WORD_MAX_LENGTH 32

#define FUNCTION_CCA         0x10000000u /* bit 3 */
#define FUNCTION_ACCELERATOR 0x08000000u /* bit 4 */
#define FUNCTION_EP11        0x04000000u /* bit 5 */

/* --- pieces: each moves on what it has read, and only then ------------------------------------------ */

static gboolean
read_character(const char **at, char c)
{
    if (**at != c)
        return FALSE;
    (*at)++;
    return TRUE;
}

/* Exactly so many digits, at most eight. */
static gboolean
read_hex(const char **at, guint digits, guint32 *ret_number)
{
    guint32 number = 0;

    for (guint i = 0; i < digits; i++) {
        int value = g_ascii_xdigit_value((*at)[i]); /* -1 at the end */

        if (value < 0)
            return FALSE;
        number = number << 4 | (guint32)value;
    }
    *at += digits;
    *ret_number = number;
    return TRUE;
}

static gboolean
read_half(const char **at, guint digits, guint *ret_number)
{
    const char *p = *at;
    guint32 number;

    if (!read_hex(&p, digits, &number) || number >= APMIG_AP_NUMBERS)
        return FALSE;
    *at = p;
    *ret_number = number;
    return TRUE;
}

static gboolean
read_mask(const char **at, ApmigApMask *ret_mask)
{
    const char *p = *at;
    ApmigApMask mask;

    if (!read_character(&p, '0') || !read_character(&p, 'x'))
        return FALSE;
    for (gsize i = 0; i < sizeof mask.bytes; i++) {
        guint32 byte;

        if (!read_hex(&p, 2, &byte))
            return FALSE;
        mask.bytes[i] = (guint8)byte;
    }
    *at = p;
    *ret_mask = mask;
    return TRUE;
}

/* The end of a file of one line. */
static gboolean
is_end(const char *at)
{
    return *at == '\0' || strcmp(at, "\n") == 0;
}

static gboolean
is_line(const char *text, const char *line)
{
    return g_str_has_prefix(text, line) && is_end(text + strlen(line));
}

/* --- masks --------------------------------------------------------------------------------------- */

ApmigKnown
apmig_ap_parse_mask(const char *text, ApmigApMask *ret_mask)
{
    const char *at = text;
    ApmigApMask mask;

    if (is_line(text, "not supported"))
        return APMIG_NO;
    if (!read_mask(&at, &mask) || !is_end(at))
        return APMIG_UNKNOWN;
    *ret_mask = mask;
    return APMIG_YES;
}

gboolean
apmig_ap_parse_config(const char *text, ApmigApMask *ret_adapters, ApmigApMask *ret_domains,
                      ApmigApMask *ret_control_domains)
{
    const char *at = text;
    ApmigApMask adapters, domains, control_domains;

    if (!read_mask(&at, &adapters) || !read_character(&at, ',') || !read_mask(&at, &domains) ||
        !read_character(&at, ',') || !read_mask(&at, &control_domains) || !is_end(at))
        return FALSE;
    *ret_adapters = adapters;
    *ret_domains = domains;
    *ret_control_domains = control_domains;
    return TRUE;
}

/* --- matrices ------------------------------------------------------------------------------------ */

typedef struct {
    gboolean has_adapter, has_domain;
    ApmigApqn queue;
} MatrixLine;

static gboolean
read_matrix_line(const char **at, MatrixLine *line)
{
    const char *p = *at;

    line->has_adapter = read_half(&p, ADAPTER_DIGITS, &line->queue.adapter);
    if (!read_character(&p, '.'))
        return FALSE;
    line->has_domain = read_half(&p, DOMAIN_DIGITS, &line->queue.domain);
    if (!read_character(&p, '\n') || (!line->has_adapter && !line->has_domain))
        return FALSE;
    *at = p;
    return TRUE;
}

ApmigScope *
apmig_ap_parse_matrix(const char *text, ApmigApMask *ret_adapters, ApmigApMask *ret_domains)
{
    g_autoptr(GArray) queues = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));
    ApmigApMask adapters = {{0}}, domains = {{0}};
    MatrixLine first = {0}, line;

    if (strlen(text) >= APMIG_AP_TEXT_MAX)
        return NULL;
    for (const char *at = text; *at != '\0';) {
        gboolean is_first = at == text;

        if (!read_matrix_line(&at, &line))
            return NULL;
        if (is_first)
            first = line;
        if (line.has_adapter != first.has_adapter || line.has_domain != first.has_domain)
            return NULL;
        if (line.has_adapter)
            apmig_ap_mask_add(&adapters, line.queue.adapter);
        if (line.has_domain)
            apmig_ap_mask_add(&domains, line.queue.domain);
        if (line.has_adapter && line.has_domain)
            g_array_append_val(queues, line.queue);
    }
    if (ret_adapters)
        *ret_adapters = adapters;
    if (ret_domains)
        *ret_domains = domains;
    return apmig_scope_new_from_queues((const ApmigApqn *)queues->data, queues->len);
}

gboolean
apmig_ap_parse_control_domains(const char *text, ApmigApMask *ret_domains)
{
    ApmigApMask domains = {{0}};

    for (const char *at = text; *at != '\0';) {
        guint domain;

        if (!read_half(&at, DOMAIN_DIGITS, &domain) || !read_character(&at, '\n'))
            return FALSE;
        apmig_ap_mask_add(&domains, domain);
    }
    *ret_domains = domains;
    return TRUE;
}

/* --- single values ------------------------------------------------------------------------------- */

gboolean
apmig_ap_parse_functions(const char *text, guint32 *ret_functions)
{
    const char *at = text;
    guint32 functions;

    if (!read_character(&at, '0') || !read_character(&at, 'x') || !read_hex(&at, 8, &functions) ||
        !is_end(at))
        return FALSE;
    *ret_functions = functions;
    return TRUE;
}

gboolean
apmig_ap_parse_number(const char *text, guint *ret_number)
{
    gsize length = strspn(text, "0123456789");
    g_autofree char *digits = g_strndup(text, length);
    guint64 number;

    if (!is_end(text + length) || !g_ascii_string_to_unsigned(digits, 10, 0, G_MAXINT32, &number, NULL))
        return FALSE;
    *ret_number = (guint)number;
    return TRUE;
}

ApmigKnown
apmig_ap_parse_switch(const char *text)
{
    if (is_line(text, "1"))
        return APMIG_YES;
    return is_line(text, "0") ? APMIG_NO : APMIG_UNKNOWN;
}

static const char *const status_words[] = {
    [APMIG_AP_STATUS_UNKNOWN] = "",
    [APMIG_AP_STATUS_UNASSIGNED] = "unassigned",
    [APMIG_AP_STATUS_ASSIGNED] = "assigned",
    [APMIG_AP_STATUS_IN_USE] = "in use",
};

ApmigApStatus
apmig_ap_parse_status(const char *text)
{
    for (guint i = APMIG_AP_STATUS_UNASSIGNED; i < G_N_ELEMENTS(status_words); i++)
        if (is_line(text, status_words[i]))
            return (ApmigApStatus)i;
    return APMIG_AP_STATUS_UNKNOWN;
}

const char *
apmig_ap_status_to_string(ApmigApStatus status)
{
    g_return_val_if_fail((guint)status < G_N_ELEMENTS(status_words), "");
    return status_words[status];
}

char *
apmig_ap_parse_word(const char *text)
{
    gsize length = 0;

    while (length <= WORD_MAX_LENGTH && g_ascii_isalnum(text[length]))
        length++;
    return length <= WORD_MAX_LENGTH && is_end(text + length) ? g_strndup(text, length) : g_strdup("");
}

char *
apmig_ap_parse_driver_override(const char *text)
{
    gsize length = 0;

    while (length <= WORD_MAX_LENGTH &&
           (g_ascii_isalnum(text[length]) || text[length] == '_' || text[length] == '-'))
        length++;
    return length <= WORD_MAX_LENGTH && is_end(text + length) ? g_strndup(text, length) : g_strdup("");
}

gboolean
apmig_ap_has_feature(const char *text, const char *feature)
{
    g_auto(GStrv) words = g_strsplit_set(text, " \n", -1);

    return g_strv_contains((const char *const *)words, feature);
}

/* --- modes --------------------------------------------------------------------------------------- */

ApmigApMode
apmig_ap_mode_from_type(const char *type)
{
    gsize digits;

    if (!g_str_has_prefix(type, "CEX"))
        return APMIG_AP_MODE_UNKNOWN;
    type += strlen("CEX");
    digits = strspn(type, "0123456789");
    if (digits == 0)
        return APMIG_AP_MODE_UNKNOWN;
    if (strcmp(type + digits, "C") == 0)
        return APMIG_AP_MODE_CCA;
    if (strcmp(type + digits, "P") == 0)
        return APMIG_AP_MODE_EP11;
    return strcmp(type + digits, "A") == 0 ? APMIG_AP_MODE_ACCELERATOR : APMIG_AP_MODE_UNKNOWN;
}

ApmigApMode
apmig_ap_mode_from_functions(guint32 functions)
{
    switch (functions & (FUNCTION_CCA | FUNCTION_ACCELERATOR | FUNCTION_EP11)) {
    case FUNCTION_CCA:
        return APMIG_AP_MODE_CCA;
    case FUNCTION_ACCELERATOR:
        return APMIG_AP_MODE_ACCELERATOR;
    case FUNCTION_EP11:
        return APMIG_AP_MODE_EP11;
    default:
        return APMIG_AP_MODE_UNKNOWN;
    }
}

/* --- names --------------------------------------------------------------------------------------- */

char *
apmig_ap_queue_name(guint adapter, guint domain)
{
    return g_strdup_printf("%02x.%04x", adapter, domain);
}

gboolean
apmig_ap_parse_queue_name(const char *name, ApmigApqn *ret_queue)
{
    const char *at = name;
    g_autofree char *canonical = NULL;
    ApmigApqn queue;

    if (!read_half(&at, ADAPTER_DIGITS, &queue.adapter) || !read_character(&at, '.') ||
        !read_half(&at, DOMAIN_DIGITS, &queue.domain))
        return FALSE;
    canonical = apmig_ap_queue_name(queue.adapter, queue.domain);
    if (strcmp(name, canonical) != 0)
        return FALSE;
    *ret_queue = queue;
    return TRUE;
}

gboolean
apmig_ap_parse_card_name(const char *name, guint *ret_adapter)
{
    const char *at = name + strlen("card");
    g_autofree char *canonical = NULL;
    guint adapter;

    if (!g_str_has_prefix(name, "card") || !read_half(&at, ADAPTER_DIGITS, &adapter))
        return FALSE;
    canonical = g_strdup_printf("card%02x", adapter);
    if (strcmp(name, canonical) != 0)
        return FALSE;
    *ret_adapter = adapter;
    return TRUE;
}

char *
apmig_ap_card_name(guint adapter)
{
    return g_strdup_printf("card%02x", adapter);
}
