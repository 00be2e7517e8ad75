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

#define APMIG_MKVP_MAX_BYTES 32 /* of a pattern: AES and APKA 8, ASYM 16, WK 32 */

typedef enum {
    APMIG_KEY_AES,
    APMIG_KEY_APKA,
    APMIG_KEY_ASYM,
    APMIG_KEY_WK, /* EP11's */
} ApmigKeyClass;
#define APMIG_N_KEY_CLASSES (APMIG_KEY_WK + 1)

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
