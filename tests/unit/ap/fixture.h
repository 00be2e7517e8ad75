/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hosts with crypto hardware, made of few words, for tests.
 */
#pragma once

#include "keys/mkvp.h"

#define FUNCTIONS_CCA         0x93800000u /* S D N H F */
#define FUNCTIONS_EP11        0x86800000u /* S X N F */
#define FUNCTIONS_ACCELERATOR 0x6a800000u /* M C A N F */

/* An AP bus with no cards, all masks readable, and nothing reserved for the host's drivers. */
ApmigApHost *host_new(void);

/* @type: "CEX8C": the letter gives the functions, the digit the hardware type. Configured, online. */
ApmigApCard *host_add_card(ApmigApHost *host, guint adapter, const char *type);
/* With the functions of its card, configured. @driver: "" for none */
ApmigApQueue *host_add_queue(ApmigApHost *host, guint adapter, guint domain, const char *driver);
/* With @scope assigned, which is one rectangle, and given to its guest; no control domains. */
ApmigApDevice *host_add_device(ApmigApHost *host, const char *uuid, const char *scope);

ApmigMkvps mkvps_of(const char *text);
ApmigScope *scope_of(const char *text);

/* Fails the test when @text is NULL or lacks @part. */
void assert_says(const char *text, const char *part);
