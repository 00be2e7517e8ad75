/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hypervisor that does what tests tell it, over a Unix socket: one JSON object per line, answered with one
 * JSON line once it was carried out: {"ok": true, ...} or {"ok": false, "error": "..."}. Each command names
 * itself in "do"; members that a command does not know are an error.
 *
 *   {"do": "guest", "uuid": U, ...}   makes a guest or changes it; members left out stay as they are:
 *       "name": N              default: the UUID
 *       "active": B            default true; FALSE: it is not listed and its job is "gone"
 *       "affected": "yes" | "no" | "unknown"    default "no"; with "unknown" its facts cannot be read
 *       "scope": TEXT          default "all"
 *       "devices": [UUID ...]
 *       "job": "none" | "outgoing" | "incoming" | "other" | "unknown"    default "none"
 *       "postcopy": B, "data-total": N, "data-processed": N, "data-remaining": N, "elapsed-usec": N
 *       "query": "answer" | "fail"    default "answer"
 *       "query-ms": N          how long a query of it takes; -1: withheld until "release"
 *       "look-up-ms": N        the same for looking it up
 *       "as-of": "answer" | "question"    what a slow answer tells: how things are when it is given (default), or
 *                              how they were when it was asked for
 *       "step": what ending its migration does; without an outgoing job that is never anything (no-job), in
 *                              post-copy neither (not-abortable):
 *           "ends"             default: said yes; the job is none after "step-ms", without any event
 *           "completes"        said yes; the guest is gone after "step-ms", with the news that it has left
 *           "nothing"          said yes; nothing happens
 *           "refuses"          it failed
 *           "not-abortable"    too late
 *       "step-ms": N           default 0; -1: until "release" of "effect"
 *       "step-answer-ms": N    default 0; -1: withheld until "release"
 *     Setting these alone fires no event, as with libvirt.
 *   {"do": "defaults", ...}           the same for every guest that does not say otherwise; also
 *       "list": "answer" | "fail", "list-ms": N    as "query"; "as-of" counts for lists too
 *       "heartbeat": "answer" | "fail", "heartbeat-ms": N    the same
 *   {"do": "remove", "uuid": U, "stopped": "migrated" | "failed"}    it is gone; with "stopped" that is also
 *                                     told
 *   {"do": "hint", "uuid": U, "name": N}         both may be missing
 *   {"do": "changed", "uuid": U, "change": "other"|"started"|"plugged"|"defined"|"arriving"|"sending"|"suspended"|"resumed"|
 *                                     "job-saved"|"job-migrated"|"stopped"|"lost"|"migrated"}    what libvirt tells by itself
 *   {"do": "stopped", "uuid": U, "migrated": B}
 *   {"do": "lose", "reason": TEXT}    the connection is lost; what is asked then fails. Answers that are late or
 *                                     withheld still come, with their old tokens
 *   {"do": "connect", "has-hook": B}  it is back (has-hook: as before; at first FALSE)
 *   {"do": "release", "what": "list" | "query" | "heartbeat" | "step" | "look-up" | "effect", "uuid": U}
 *                                     gives what is withheld (all of it, of one kind, of one guest);
 *                                     answered with "released": N
 *   {"do": "calls", "clear": B}       answered with "calls": [{"call": "list", "token": N},
 *                                     {"call": "query", "token": N, "uuid": U, "facts": B},
 *                                     {"call": "step", "op": N, "uuid": U, "step": "libvirt-abort"},
 *                                     {"call": "look-up", "guest": TEXT}], each with "at-ms" since the start, and
 *                                     "withheld": N. So tests see that no one else was touched
 *
 * A file PATH.init beside the socket, of such lines, is carried out at the start: so guests are there when a
 * daemon that was killed comes back. The connection then comes up by itself, unless a line of it was "lose".
 */
#pragma once

#include "libvirt/hypervisor.h"

/**
 * apmig_scripted_hypervisor_new:
 * @uri: "scripted:PATH", the path of the socket, which is replaced when it exists
 */
ApmigHypervisor *apmig_scripted_hypervisor_new(const char *uri);
