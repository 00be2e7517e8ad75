/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's texts about crypto hardware: what single files of the AP bus, of its cards and queues and of vfio_ap's
 * mediated devices say. Each function takes the content of one file, terminated; what has not exactly the file's form
 * gives "unknown", FALSE or NULL and leaves every output as it was. Where a file is one line its newline may be
 * missing, as in a uevent's properties, of which some have it and some have not.
 *
 * Sources: the show functions in drivers/s390/crypto/{ap_bus,ap_card,ap_queue,zcrypt_cex4,vfio_ap_ops}.c of Linux
 * 6.12; Documentation/arch/s390/vfio-ap.rst.
 */
#pragma once

#include "ap/ap.h"

/* Bytes of a file of sysfs: a page of s390. Longer is no such file. */
#define APMIG_AP_TEXT_MAX 4096

/* "0x" and 64 hexadecimal digits. Returns: APMIG_NO for "not supported": the machine cannot tell (no QCI facility). */
ApmigKnown apmig_ap_parse_mask(const char *text, ApmigApMask *ret_mask);

/* ap_config: the three masks, with commas between. */
gboolean apmig_ap_parse_config(const char *text, ApmigApMask *ret_adapters, ApmigApMask *ret_domains,
                               ApmigApMask *ret_control_domains) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_ap_parse_matrix:
 * @text: of matrix or guest_matrix: a queue "XX.YYYY" a line; where only adapters or only domains are assigned "XX."
 *   or ".YYYY" a line; empty
 * @ret_adapters: (out) (optional): the adapters that are named
 * @ret_domains: (out) (optional): the domains that are named
 *
 * Each line must have its newline: more than 511 queues do not fit into the kernel's page, which is then cut off
 * within a line.
 *
 * Returns: (transfer full) (nullable): the queues, none where one side is missing.
 */
ApmigScope *apmig_ap_parse_matrix(const char *text, ApmigApMask *ret_adapters,
                                  ApmigApMask *ret_domains) G_GNUC_WARN_UNUSED_RESULT;

/* control_domains: "YYYY" a line, each with its newline; empty. */
gboolean apmig_ap_parse_control_domains(const char *text, ApmigApMask *ret_domains) G_GNUC_WARN_UNUSED_RESULT;

/* ap_functions: "0x" and eight hexadecimal digits, bits 0..31 of GR2 of TAPQ. */
gboolean apmig_ap_parse_functions(const char *text, guint32 *ret_functions) G_GNUC_WARN_UNUSED_RESULT;

/* Decimal, at most G_MAXINT32. */
gboolean apmig_ap_parse_number(const char *text, guint *ret_number) G_GNUC_WARN_UNUSED_RESULT;

/* online, config, chkstop: "1" or "0". */
ApmigKnown apmig_ap_parse_switch(const char *text);

/* status of a queue that is bound to vfio_ap. */
ApmigApStatus apmig_ap_parse_status(const char *text);
/* The kernel's words; "" when it is unknown. */
const char *apmig_ap_status_to_string(ApmigApStatus status);

/* type, serialnr: at most 32 letters and digits. Returns: (transfer full): "" when it is nothing of that kind. */
char *apmig_ap_parse_word(const char *text);
/* driver_override of a queue: the name of a driver. One that is not set is an empty line, or, in kernels from 6.19 on until
 * that was mended, "(null)". Returns: (transfer full): "" for none. */
char *apmig_ap_parse_driver_override(const char *text);

/* features of vfio_ap: words, with spaces between. */
gboolean apmig_ap_has_feature(const char *text, const char *feature);

/* By the last letter of a card's type, as in "CEX8C". */
ApmigApMode apmig_ap_mode_from_type(const char *type);
/* By the bits 3, 4 and 5 of a card's or queue's functions, of which exactly one is set. */
ApmigApMode apmig_ap_mode_from_functions(guint32 functions);

/* The names of devices on the AP bus, "XX.YYYY" and "cardXX", in their only spelling: lower case. */
gboolean apmig_ap_parse_queue_name(const char *name, ApmigApqn *ret_queue) G_GNUC_WARN_UNUSED_RESULT;
gboolean apmig_ap_parse_card_name(const char *name, guint *ret_adapter) G_GNUC_WARN_UNUSED_RESULT;
/* Returns: (transfer full): "XX.YYYY". */
char *apmig_ap_queue_name(guint adapter, guint domain);
/* Returns: (transfer full): "cardXX". */
char *apmig_ap_card_name(guint adapter);
