/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/mkvp.h"

#include <string.h>

static const char *const class_names[] = {
    [APMIG_KEY_AES] = "AES",
    [APMIG_KEY_APKA] = "APKA",
    [APMIG_KEY_ASYM] = "ASYM",
    [APMIG_KEY_WK] = "WK",
};

static const char *const register_names[] = {
    [APMIG_REGISTER_NEW] = "NEW",
    [APMIG_REGISTER_CUR] = "CUR",
    [APMIG_REGISTER_OLD] = "OLD",
};

static const char *const state_names[] = {
    [APMIG_KEY_STATE_UNKNOWN] = "unknown",         [APMIG_KEY_STATE_EMPTY] = "empty",
    [APMIG_KEY_STATE_PARTIAL] = "partial",         [APMIG_KEY_STATE_FULL] = "full",
    [APMIG_KEY_STATE_UNCOMMITTED] = "uncommitted", [APMIG_KEY_STATE_COMMITTED] = "committed",
    [APMIG_KEY_STATE_INVALID] = "invalid",         [APMIG_KEY_STATE_VALID] = "valid",
};

/* --- names --------------------------------------------------------------------------------------- */

static gboolean
find_name(const char *const *names, guint n_names, const char *text, guint *ret_index)
{
    for (guint i = 0; i < n_names; i++) {
        if (g_str_equal(names[i], text)) {
            *ret_index = i;
            return TRUE;
        }
    }
    return FALSE;
}

const char *
apmig_key_class_to_string(ApmigKeyClass key_class)
{
    g_return_val_if_fail((guint)key_class < G_N_ELEMENTS(class_names), "");
    return class_names[key_class];
}

gboolean
apmig_key_class_from_string(const char *text, ApmigKeyClass *ret_class)
{
    guint index;

    if (!find_name(class_names, G_N_ELEMENTS(class_names), text, &index))
        return FALSE;
    *ret_class = (ApmigKeyClass)index;
    return TRUE;
}

const char *
apmig_register_to_string(ApmigRegister reg)
{
    g_return_val_if_fail((guint)reg < G_N_ELEMENTS(register_names), "");
    return register_names[reg];
}

gboolean
apmig_register_from_string(const char *text, ApmigRegister *ret_register)
{
    guint index;

    if (!find_name(register_names, G_N_ELEMENTS(register_names), text, &index))
        return FALSE;
    *ret_register = (ApmigRegister)index;
    return TRUE;
}

const char *
apmig_key_state_to_string(ApmigKeyState state)
{
    g_return_val_if_fail((guint)state < G_N_ELEMENTS(state_names), "");
    return state_names[state];
}

gboolean
apmig_key_state_from_string(const char *text, ApmigKeyState *ret_state)
{
    guint index;

    if (!find_name(state_names, G_N_ELEMENTS(state_names), text, &index))
        return FALSE;
    *ret_state = (ApmigKeyState)index;
    return TRUE;
}

/* --- patterns ------------------------------------------------------------------------------------ */

guint
apmig_key_class_pattern_bytes(ApmigKeyClass key_class)
{
    static const guint bytes[] = {
        [APMIG_KEY_AES] = 8,
        [APMIG_KEY_APKA] = 8,
        [APMIG_KEY_ASYM] = 16,
        [APMIG_KEY_WK] = APMIG_MKVP_MAX_BYTES,
    };

    g_return_val_if_fail((guint)key_class < G_N_ELEMENTS(bytes), 0);
    return bytes[key_class];
}

guint
apmig_key_class_said_bytes(ApmigKeyClass key_class, const char *text)
{
    if (key_class == APMIG_KEY_WK && strlen(text) == strlen("0x") + 2 * (gsize)APMIG_MKVP_WK_BYTES)
        return APMIG_MKVP_WK_BYTES;
    return apmig_key_class_pattern_bytes(key_class);
}

gboolean
apmig_key_pattern_parse(const char *text, guint n_bytes, ApmigKeyRegister *ret_register)
{
    static const guint8 zeros[APMIG_MKVP_MAX_BYTES];
    guint8 pattern[APMIG_MKVP_MAX_BYTES] = {0};
    const char *digits = text + strlen("0x");

    g_return_val_if_fail(n_bytes <= sizeof pattern, FALSE);
    if (!g_str_has_prefix(text, "0x") || strlen(digits) != 2 * (gsize)n_bytes)
        return FALSE;
    for (guint i = 0; i < n_bytes; i++) {
        int high = g_ascii_xdigit_value(digits[2 * i]), low = g_ascii_xdigit_value(digits[2 * i + 1]);

        if (high < 0 || low < 0)
            return FALSE;
        pattern[i] = (guint8)(high * 16 + low);
    }
    memcpy(ret_register->pattern, pattern, sizeof pattern);
    ret_register->length = memcmp(pattern, zeros, sizeof pattern) == 0 ? 0 : n_bytes;
    return TRUE;
}

char *
apmig_key_pattern_to_string(const ApmigKeyRegister *reg)
{
    GString *text = NULL;

    if (reg->length == 0)
        return g_strdup("-");
    text = g_string_new("0x");
    for (guint i = 0; i < MIN(reg->length, APMIG_MKVP_MAX_BYTES); i++)
        g_string_append_printf(text, "%02x", reg->pattern[i]);
    return g_string_free(text, FALSE);
}

gboolean
apmig_key_pattern_equal(ApmigKeyClass key_class, const ApmigKeyRegister *a, const ApmigKeyRegister *b)
{
    if (key_class == APMIG_KEY_WK)
        return a->length >= APMIG_MKVP_WK_BYTES && b->length >= APMIG_MKVP_WK_BYTES &&
               memcmp(a->pattern, b->pattern, APMIG_MKVP_WK_BYTES) == 0;
    return a->length > 0 && a->length == b->length && memcmp(a->pattern, b->pattern, a->length) == 0;
}

gboolean
apmig_key_register_is_empty(const ApmigKeyRegister *reg)
{
    return reg->state == APMIG_KEY_STATE_EMPTY || reg->state == APMIG_KEY_STATE_INVALID;
}

gboolean
apmig_key_register_is_pending(const ApmigKeyRegister *reg_new)
{
    return reg_new->state >= APMIG_KEY_STATE_PARTIAL && reg_new->state <= APMIG_KEY_STATE_COMMITTED;
}

/* --- the file mkvps ------------------------------------------------------------------------------ */

static gboolean
state_has_pattern(ApmigKeyState state)
{
    return state == APMIG_KEY_STATE_FULL || state == APMIG_KEY_STATE_UNCOMMITTED ||
           state == APMIG_KEY_STATE_COMMITTED || state == APMIG_KEY_STATE_VALID;
}

/* "empty" is also told of CUR and OLD, by kernels newer than 6.12. */
static gboolean
state_fits(ApmigRegister reg, ApmigKeyState state)
{
    if (state == APMIG_KEY_STATE_UNKNOWN)
        return FALSE;
    if (reg == APMIG_REGISTER_NEW)
        return state <= APMIG_KEY_STATE_COMMITTED;
    return state == APMIG_KEY_STATE_EMPTY || state >= APMIG_KEY_STATE_INVALID;
}

static void
read_register(ApmigKeyClass key_class, ApmigRegister reg, const char *state, const char *value,
              ApmigKeyRegister *ret_register)
{
    ApmigKeyRegister found = {0};

    if (!apmig_key_state_from_string(state, &found.state) || !state_fits(reg, found.state))
        return;
    if (!g_str_equal(value, "-") &&
        !apmig_key_pattern_parse(value, apmig_key_class_pattern_bytes(key_class), &found))
        return;
    /* What has a pattern is not empty; a register that contradicts itself is not known. */
    if (found.state == APMIG_KEY_STATE_EMPTY && found.length > 0)
        return;
    if (!state_has_pattern(found.state)) {
        memset(found.pattern, 0, sizeof found.pattern);
        found.length = 0;
    }
    *ret_register = found;
}

/* "CUR:" */
static gboolean
read_label(const char *word, ApmigRegister *ret_register)
{
    g_autofree char *name = g_str_has_suffix(word, ":") ? g_strndup(word, strlen(word) - 1) : NULL;

    return name && apmig_register_from_string(name, ret_register);
}

/* @seen: a bit for each register that had a line */
static void
read_line(const char *line, guint *seen, ApmigMkvps *mkvps)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 0);
    guint n_words = g_strv_length(words), bit;
    ApmigKeyClass key_class;
    ApmigRegister reg;
    ApmigKeyRegister *found;

    if (n_words < 2 || !apmig_key_class_from_string(words[0], &key_class) || !read_label(words[1], &reg))
        return;
    if (key_class == APMIG_KEY_WK && reg == APMIG_REGISTER_OLD)
        return; /* EP11 has none */
    found = &mkvps->registers[key_class][reg];
    bit = 1u << ((guint)key_class * APMIG_N_REGISTERS + (guint)reg);
    if (*seen & bit)
        memset(found, 0, sizeof *found);
    else if (n_words == 4)
        read_register(key_class, reg, words[2], words[3], found);
    *seen |= bit;
}

void
apmig_mkvps_parse(const char *text, gsize length, ApmigMkvps *ret_mkvps)
{
    g_autofree char *copy = NULL;
    g_auto(GStrv) lines = NULL;
    guint seen = 0;

    memset(ret_mkvps, 0, sizeof *ret_mkvps);
    if (length > APMIG_MKVPS_MAX_BYTES || memchr(text, '\0', length))
        return;
    copy = g_strndup(text, length);
    lines = g_strsplit(copy, "\n", 0);
    for (char **line = lines; *line; line++)
        read_line(*line, &seen, ret_mkvps);
}

gboolean
apmig_key_mode_has_class(ApmigApMode mode, ApmigKeyClass key_class)
{
    switch (mode) {
    case APMIG_AP_MODE_CCA:
        return key_class != APMIG_KEY_WK;
    case APMIG_AP_MODE_EP11:
        return key_class == APMIG_KEY_WK;
    case APMIG_AP_MODE_ACCELERATOR:
        return FALSE;
    case APMIG_AP_MODE_UNKNOWN:
    default:
        return TRUE;
    }
}
