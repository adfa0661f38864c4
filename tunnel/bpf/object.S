/* The programs, within the program that loads them. */
	.section .rodata
	.globl plane_bpf_object, plane_bpf_object_end
	.balign 8
plane_bpf_object:
	.incbin BPF_OBJECT
plane_bpf_object_end:
	.globl plane_bpf_plain, plane_bpf_plain_end
	.balign 8
plane_bpf_plain:
	.incbin BPF_PLAIN
plane_bpf_plain_end:
	.section .note.GNU-stack, "", %progbits
