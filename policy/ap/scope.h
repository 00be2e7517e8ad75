/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A scope: the set of AP queues (APQNs: adapter 0..255 x domain 0..255) that a lock or a guest covers.
 *
 * Grammar: "all", or a comma-separated list of XX.YYYY where either half is one hexadecimal number, a range
 * N-M, or "*". The adapter has one or two digits, the domain one to four; both are at most ff. No white
 * space. The numbers are those of sysfs (Documentation/arch/s390/vfio-ap.rst).
 *
 * The canonical form is a list of rectangles with two and four digits, lower case, "*" for a whole half, and
 * "all" for every queue. It depends on nothing but the set: two scopes are equal when their canonical forms
 * are. Finding the shortest list is NP-hard; this one is greedy: take the first queue not yet listed (by
 * adapter, then domain); of the widest rectangle that begins as a run of domains and grows over adapters, and
 * the one that begins as a run of adapters and grows over domains, list the one with more queues not yet
 * listed (the former if equal), cut down to those, but with a "*" left whole; repeat.
 */
#pragma once

#include <glib.h>

#define APMIG_SCOPE_MAX_LENGTH 4096 /* bytes of a scope that somebody wrote; longer is refused */

/* Bytes of a canonical form: every rectangle lists a queue that none before it did, and takes at most 16. */
#define APMIG_SCOPE_MAX_STORED_LENGTH (65536 * 16)

/* Immutable and counted by reference; safe to share between threads. */
typedef struct ApmigScope ApmigScope;

/* The number of one queue. */
typedef struct {
    guint adapter, domain; /* 0..255 */
} ApmigApqn;

/**
 * apmig_scope_parse:
 * @text: a scope in the grammar above, at most %APMIG_SCOPE_MAX_LENGTH bytes; need not be UTF-8
 * @error: #APMIG_ERROR_INVALID_SCOPE; the sentence names the offending part and its position (bytes, from 1)
 *
 * For what somebody wrote: an option, an argument, an attribute.
 *
 * Returns: (transfer full) (nullable): the scope, or %NULL with @error set.
 */
ApmigScope *apmig_scope_parse(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_scope_parse_stored:
 * @text: what apmig_scope_to_string() gave, at most %APMIG_SCOPE_MAX_STORED_LENGTH bytes
 * @error: as apmig_scope_parse()
 *
 * For what apmigd itself wrote: the canonical form of a scope can be longer than the text it was parsed from,
 * and that of a union longer still. It also reads "none".
 *
 * Returns: (transfer full) (nullable): a scope equal to the one that was written, for every scope.
 */
ApmigScope *apmig_scope_parse_stored(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full): the scope of every queue. */
ApmigScope *apmig_scope_new_all(void);

/* Returns: (transfer full): the scope of no queue: it overlaps nothing. Its text is "none", which only
 * apmig_scope_parse_stored() accepts. */
ApmigScope *apmig_scope_new_none(void);

/* Returns: (transfer full): the scope of these queues, in any order; one with a number above 255 is none. */
ApmigScope *apmig_scope_new_from_queues(const ApmigApqn *queues, gsize n_queues);

/* Returns: (transfer full): the queues of @a and those of @b. */
ApmigScope *apmig_scope_union(const ApmigScope *a, const ApmigScope *b);

/* Returns: (transfer full): the queues of @a that are not among those of @b. */
ApmigScope *apmig_scope_without(const ApmigScope *a, const ApmigScope *b);

ApmigScope *apmig_scope_ref(ApmigScope *scope);
/* @scope: (nullable) */
void apmig_scope_unref(ApmigScope *scope);

gboolean apmig_scope_overlaps(const ApmigScope *a, const ApmigScope *b);
gboolean apmig_scope_equal(const ApmigScope *a, const ApmigScope *b);
/* Returns: whether every queue of @inner is one of @outer. */
gboolean apmig_scope_is_within(const ApmigScope *inner, const ApmigScope *outer);
gboolean apmig_scope_is_none(const ApmigScope *scope);

/* Returns: whether the queue is in the scope; FALSE for an adapter or domain above 255. */
gboolean apmig_scope_contains(const ApmigScope *scope, guint adapter, guint domain);

/* Returns: (transfer none): the canonical form, owned by the scope; worked out at the first call. */
const char *apmig_scope_to_string(const ApmigScope *scope);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigScope, apmig_scope_unref)
