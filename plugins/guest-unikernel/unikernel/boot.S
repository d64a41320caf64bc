/* From the PVH entry (32 bits, no paging; ebx: start info) to kmain in long mode, 4 GiB mapped one to one. */
    .section .note.Xen, "a", @note
    .align 4
    .long 4, 8, 18              /* name, description, type 18: XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad start32

    .section .text.start, "ax"
    .code32
    .global start32
start32:
    cli
    mov $stack_top, %esp
    mov $page_directories, %edi
    mov $0x83, %eax             /* present, writable, 2 MiB */
    mov $2048, %ecx
1:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 1b
    mov $page_directories + 3, %eax
    mov $page_pointers, %edi
    mov $4, %ecx
2:  mov %eax, (%edi)
    add $4096, %eax
    add $8, %edi
    loop 2b
    movl $page_pointers + 3, page_root
    mov $page_root, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x20, %eax              /* PAE */
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax             /* EFER.LME */
    wrmsr
    mov %cr0, %eax
    or $0x80000001, %eax
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $start64
    .code64
start64:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %ebx, %edi
    call kmain
3:  hlt
    jmp 3b

    .section .rodata
    .align 8
gdt:
    .quad 0
    .quad 0x00209a0000000000    /* code, 64 bits */
    .quad 0x0000920000000000    /* data */
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .section .bss
    .align 4096
page_root:        .skip 4096
page_pointers:    .skip 4096
page_directories: .skip 4 * 4096
    .skip 32768
stack_top:
    .section .note.GNU-stack, "", @progbits
