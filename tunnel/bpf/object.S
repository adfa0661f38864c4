/* The programs, within the program that loads them. */
	.section .rodata
	.globl plane_bpf_object, plane_bpf_object_end
	.balign 8
plane_bpf_object:
	.incbin BPF_OBJECT
plane_bpf_object_end:
	.section .note.GNU-stack, "", %progbits
