/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Master-key verification patterns (MKVPs) of one queue, as the kernel's file mkvps shows them, and their comparison.
 * Equal patterns are strong evidence of equal keys, not proof; the SYM (DES) master key of CCA is in no such file.
 *
 * Sources: cca_mkvps_show() and ep11_mkvps_show() in drivers/s390/crypto/zcrypt_cex4.c of Linux 6.12; the commands
 * zkey and lszcrypt of s390-tools.
 */
#pragma once

#include <glib.h>

#include "ap/ap.h"
#include "base/severity.h"

#define APMIG_MKVP_MAX_BYTES  32   /* of a pattern: AES and APKA 8, ASYM 16, WK 32 */
#define APMIG_MKVP_WK_BYTES   16   /* of a WK's pattern: those that the kernel and zkey compare */
#define APMIG_MKVPS_MAX_BYTES 4096 /* of the file: a page */

typedef enum {
    APMIG_KEY_AES,
    APMIG_KEY_APKA,
    APMIG_KEY_ASYM,
    APMIG_KEY_WK, /* EP11's */
} ApmigKeyClass;
#define APMIG_N_KEY_CLASSES (APMIG_KEY_WK + 1)

/* Returns: whether a card in that mode may have master keys of that class; in an unknown mode it may have any. */
gboolean apmig_key_mode_has_class(ApmigApMode mode, ApmigKeyClass key_class);

typedef enum {
    APMIG_REGISTER_NEW,
    APMIG_REGISTER_CUR,
    APMIG_REGISTER_OLD, /* CCA only */
} ApmigRegister;
#define APMIG_N_REGISTERS (APMIG_REGISTER_OLD + 1)

typedef enum {
    APMIG_KEY_STATE_UNKNOWN = 0, /* dashes, no such line, a word that is not known */
    APMIG_KEY_STATE_EMPTY,
    APMIG_KEY_STATE_PARTIAL,
    APMIG_KEY_STATE_FULL,
    APMIG_KEY_STATE_UNCOMMITTED,
    APMIG_KEY_STATE_COMMITTED,
    APMIG_KEY_STATE_INVALID,
    APMIG_KEY_STATE_VALID,
} ApmigKeyState;

typedef struct {
    ApmigKeyState state;
    guint8 pattern[APMIG_MKVP_MAX_BYTES];
    guint length; /* bytes; 0: there is none. All zeros is none. */
} ApmigKeyRegister;

/* All of one queue. A plain value: zeroed, everything is unknown. */
typedef struct {
    ApmigKeyRegister registers[APMIG_N_KEY_CLASSES][APMIG_N_REGISTERS];
} ApmigMkvps;

/* "AES", "APKA", "ASYM", "WK". */
const char *apmig_key_class_to_string(ApmigKeyClass key_class);
/* Returns: FALSE when @text names none; @ret_class is then untouched. */
gboolean apmig_key_class_from_string(const char *text, ApmigKeyClass *ret_class);
/* "NEW", "CUR", "OLD". */
const char *apmig_register_to_string(ApmigRegister reg);
gboolean apmig_register_from_string(const char *text, ApmigRegister *ret_register);
/* The kernel's words, and "unknown" for what it shows as a dash. */
const char *apmig_key_state_to_string(ApmigKeyState state);
gboolean apmig_key_state_from_string(const char *text, ApmigKeyState *ret_state);

/* Returns: the bytes of a whole pattern of this class. */
guint apmig_key_class_pattern_bytes(ApmigKeyClass key_class);
/* Returns: the bytes that @text, as apmig_key_pattern_parse() takes it, has to have where it was not the kernel that wrote
 * it: those of a whole pattern; for a WK half of them if @text has so many, as s390-tools shows no more. */
guint apmig_key_class_said_bytes(ApmigKeyClass key_class, const char *text);

/**
 * apmig_key_pattern_parse:
 * @text: "0x" and two hexadecimal digits for each byte, and nothing else
 * @n_bytes: how many there must be, at most %APMIG_MKVP_MAX_BYTES
 * @ret_register: where pattern and length go; length 0 for all zeros, which is no pattern. Its state is left alone
 *
 * Returns: FALSE when @text has another form; @ret_register is then untouched.
 */
gboolean apmig_key_pattern_parse(const char *text, guint n_bytes, ApmigKeyRegister *ret_register);
/* Returns: (transfer full): "0x" and lower-case digits, or "-" when there is no pattern. */
char *apmig_key_pattern_to_string(const ApmigKeyRegister *reg);
/* Returns: whether both have a pattern, and the same. Of a WK, %APMIG_MKVP_WK_BYTES bytes count. */
gboolean apmig_key_pattern_equal(ApmigKeyClass key_class, const ApmigKeyRegister *a,
                                 const ApmigKeyRegister *b);
/* Whether the register is known to hold no key. */
gboolean apmig_key_register_is_empty(const ApmigKeyRegister *reg);
/* Whether the register of a queue says that a change of this key has begun and is not over. */
gboolean apmig_key_register_is_pending(const ApmigKeyRegister *reg_new);

/**
 * apmig_mkvps_parse:
 * @text: what the file mkvps gave, not necessarily terminated; hostile when a guest's agent gave it
 * @length: its bytes; above %APMIG_MKVPS_MAX_BYTES everything is unknown
 * @ret_mkvps: every register, whatever it was before
 *
 * By key, not by line: lines of unknown words are passed over, a register without a line, with a line that is
 * malformed, or with more than one is unknown, never empty. "-" may stand for the value after any state. A value is
 * taken only with a state that has one: full, uncommitted, committed, valid.
 */
void apmig_mkvps_parse(const char *text, gsize length, ApmigMkvps *ret_mkvps);

/* --- comparison ---------------------------------------------------------------------------------- */

/* Of one class of two queues, A and B. Where several hold of keys that agree, the later one. */
typedef enum {
    APMIG_KEYS_UNKNOWN = 0,          /* CUR of either is not known: it is never agreement */
    APMIG_KEYS_NO_KEY,               /* neither has one; that is no agreement either */
    APMIG_KEYS_AGREE,                /* CUR equal, NEW empty on both */
    APMIG_KEYS_AGREE_NEW_UNKNOWN,    /* CUR equal; whether a change is pending cannot be told */
    APMIG_KEYS_AGREE_UPPER_HALF,     /* EP11: equal as far as the kernel looks, and different after it */
    APMIG_KEYS_AGREE_OLD_DIFFERS,    /* CUR equal; a key not yet re-enciphered from OLD works on one only */
    APMIG_KEYS_AGREE_CHANGE_PENDING, /* CUR equal, NEW not empty on one or both */
    APMIG_KEYS_AGREE_WILL_DIVERGE,   /* CUR equal, NEW loaded on both and different */
    APMIG_KEYS_DIFFER,
    APMIG_KEYS_DIFFER_B_AHEAD,  /* A.CUR is B.OLD, or B.CUR is A.NEW */
    APMIG_KEYS_DIFFER_B_BEHIND, /* A.CUR is B.NEW, or B.CUR is A.OLD */
} ApmigKeyVerdict;

/* "unknown", "no-key", "agree", "agree-new-unknown", "agree-upper-half", "agree-old-differs",
 * "agree-change-pending", "agree-will-diverge", "differ", "differ-b-ahead", "differ-b-behind". */
const char *apmig_key_verdict_to_string(ApmigKeyVerdict verdict);

typedef struct {
    ApmigKeyVerdict verdict;
    ApmigSeverity severity; /* none: agree; error: differ, and will diverge; else a warning */
    char *sentence;         /* with class, registers and patterns, and everything that holds */
} ApmigKeyComparison;

/**
 * apmig_keys_compare:
 * @key_class: which
 * @a: the APMIG_N_REGISTERS registers of this class of one queue
 * @a_name: how the sentence calls it, fit to stand after "on", such as "the source"
 * @b: those of another
 * @b_name: and its name
 *
 * Returns: (transfer full)
 */
ApmigKeyComparison *apmig_keys_compare(ApmigKeyClass key_class, const ApmigKeyRegister *a, const char *a_name,
                                       const ApmigKeyRegister *b, const char *b_name);
/* @comparison: (nullable) */
void apmig_key_comparison_free(ApmigKeyComparison *comparison);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigKeyComparison, apmig_key_comparison_free)
