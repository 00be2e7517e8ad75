/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes are what /proc and libvirt's pid file say of a process, which then is the guest's QEMU or is refused with a
 * sentence. The input is three files, one after the other, divided by lines of two dashes.
 */
#include "fence/process.h"
#include "fuzz.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define UUID "11111111-1111-4111-8111-111111111111"

typedef struct {
    char *folder, *process; /* that of this process, for its pidfd is a real one */
} Tree;

/* Once: a fuzzer's inputs come by the thousand. */
static const Tree *
get_tree(void)
{
    static Tree tree;

    if (!tree.folder) {
        g_autofree char *pid = g_strdup_printf("%d", getpid());

        tree.folder = g_dir_make_tmp("apmigd-fuzz-proc-XXXXXX", NULL);
        tree.process = g_build_filename(tree.folder, pid, NULL);
        g_assert_cmpint(g_mkdir_with_parents(tree.process, 0700), ==, 0);
    }
    return &tree;
}

/* Returns: what is left of the input. */
static const char *
put(const char *folder, const char *name, const char *data, const char *end)
{
    const char *stop = memmem(data, (gsize)(end - data), "--\n", 3);
    g_autofree char *path = g_build_filename(folder, name, NULL);
    FILE *file = fopen(path, "we"); /* not g_file_set_contents(), which waits for the disk */

    g_assert_nonnull(file);
    fwrite(data, 1, (size_t)((stop ? stop : end) - data), file);
    g_assert_cmpint(fclose(file), ==, 0);
    return stop ? stop + 3 : end;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    const char *rest = (const char *)data, *end = rest + size;
    const Tree *tree = get_tree();
    const ApmigFencePaths paths = {tree->folder, "/sys", tree->folder, tree->folder};
    ApmigFenceRequest request = {.pid = getpid(), .uuid = UUID, .name = "g1"};
    ApmigFenceReply reply = APMIG_FENCE_REPLY_INIT;
    g_auto(ApmigProcess) process = APMIG_PROCESS_INIT;

    rest = put(tree->process, "stat", rest, end);
    rest = put(tree->process, "cmdline", rest, end);
    put(tree->folder, "g1.pid", rest, end);
    if (apmig_process_prove(&request, &paths, &process, &reply)) {
        g_assert_cmpint(reply.pid, ==, getpid());
        g_assert_cmpuint(reply.start_time, ==, process.start_time);
    } else {
        g_assert_cmpint(reply.result, ==, APMIG_FENCE_REFUSED);
        g_assert_true(*reply.message && g_utf8_validate(reply.message, -1, NULL));
    }
    return 0;
}
