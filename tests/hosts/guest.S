/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest of the rig: a boot sector. On every timer tick of the BIOS (18 a second) it writes a word into each
 * of PAGES pages from 1 MiB on and one byte to the first serial port; in between it sleeps. So it costs hardly
 * any processor time, a slow migration never catches up with it, and its serial log grows where it runs.
 */
        .code16
        .globl  _start
_start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        inb     $0x92, %al              /* the A20 line */
        orb     $2, %al
        outb    %al, $0x92

        /* Protected mode and back, to leave %fs with a limit of 4 GiB. */
        lgdtl   descriptor_table
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        jmp     1f
1:      movw    $8, %bx
        movw    %bx, %fs
        andb    $0xfe, %al
        movl    %eax, %cr0
        jmp     2f
2:      xorw    %bx, %bx
        movw    %bx, %fs
        sti

tick:   hlt
        movl    $0x100000, %edi
        movl    $PAGES, %ecx
3:      addr32  incl %fs:(%edi)
        addl    $4096, %edi
        decl    %ecx
        jnz     3b
        movw    $0x3f8, %dx
        movb    $'.', %al
        outb    %al, %dx
        jmp     tick

        .balign 8
descriptors:
        .quad   0
        .quad   0x00cf92000000ffff      /* data, base 0, limit 4 GiB */
descriptor_table:
        .word   descriptor_table - descriptors - 1
        .long   descriptors

        .org    510
        .word   0xaa55
