/*
 * Which queue of an interface, hence which tunnel process, has a packet. What
 * the host sends is spread by a program at the interface (eBPF), what comes
 * from nodes by a filter at each raw socket (classic BPF), as each of them is
 * given every packet. Both compute the same, from either end of a flow, so
 * that its packets never overtake each other and one process has them all.
 *
 * A packet that has no room for what is looked at goes by queue 0, where it is
 * counted as malformed.
 */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_tun.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "tunnel/plane-tun.h"
#include "tunnel/tunnel.h"

/* Odd: pools are runs of addresses, and the low bits must reach the high. */
#define MIX1		0x9e3779b1U
#define MIX2		0x85ebca6bU

/* Of an IPv4 packet: where they are. */
#define OFFSET		6
#define PROTOCOL	9
#define SOURCE		12
#define DESTINATION	16

/*
 * eBPF. r0 is what was loaded, in host order; a load from behind the packet's
 * end returns 0.
 */
#define INSN(c, dst, src, o, i) {					\
	.code = (c), .dst_reg = (dst), .src_reg = (src), .off = (o),	\
	.imm = (int32_t)(i) }
#define MOV(dst, src)	INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define ALU(op, dst, k)	INSN(BPF_ALU | (op) | BPF_K, dst, 0, 0, k)
#define XOR(dst, src)	INSN(BPF_ALU | BPF_XOR | BPF_X, dst, src, 0, 0)
#define LOAD(size, at)	INSN(BPF_LD | BPF_ABS | (size), 0, 0, 0, at)
#define LOAD_AT(size, reg, at) INSN(BPF_LD | BPF_IND | (size), 0, reg, 0, at)
#define IF(op, k, skip)	INSN(BPF_JMP | (op) | BPF_K, 0, 0, skip, k)
#define END		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static const struct bpf_insn	 steer_flow[] = {
	MOV(6, 1),
	LOAD(BPF_W, SOURCE),
	MOV(7, 0),
	LOAD(BPF_W, DESTINATION),
	XOR(7, 0),
	ALU(BPF_MUL, 7, MIX1),
	LOAD(BPF_B, PROTOCOL),
	IF(BPF_JEQ, IPPROTO_TCP, 1),
	IF(BPF_JNE, IPPROTO_UDP, 11),
	LOAD(BPF_H, OFFSET),
	IF(BPF_JSET, IPV4_FRAGMENT, 9),
	LOAD(BPF_B, 0),
	ALU(BPF_AND, 0, 15),
	ALU(BPF_LSH, 0, 2),
	MOV(8, 0),
	LOAD_AT(BPF_H, 8, 0),
	MOV(9, 0),
	LOAD_AT(BPF_H, 8, 2),
	XOR(9, 0),
	XOR(7, 9),
	ALU(BPF_MUL, 7, MIX2),
	ALU(BPF_RSH, 7, 16),
	MOV(0, 7),
	END
};

static const struct bpf_insn	 steer_lease[] = {
	MOV(6, 1),
	LOAD(BPF_W, DESTINATION),
	ALU(BPF_MUL, 0, MIX2),
	ALU(BPF_RSH, 0, 16),
	END
};

/* Classic BPF. The last instructions say whether it is this queue's. */
#define TAIL								\
	BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, MIX2),			\
	BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),			\
	BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 0),		/* queues */	\
	BPF_STMT(BPF_JMP | BPF_JA, 1),					\
	BPF_STMT(BPF_LD | BPF_IMM, 0),			/* too short */	\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),	/* the queue */	\
	BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),				\
	BPF_STMT(BPF_RET | BPF_K, 0)
#define MODULO_AT	6		/* from the end */
#define QUEUE_AT	3

static const struct sock_filter	 from_flow[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, IPV4_HEADER, 0, 29),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SOURCE),
	BPF_STMT(BPF_MISC | BPF_TAX, 0),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DESTINATION),
	BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
	BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, MIX1),
	BPF_STMT(BPF_ST, 0),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, PROTOCOL),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 1, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 15),
	BPF_STMT(BPF_LD | BPF_H | BPF_ABS, OFFSET),
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, IPV4_FRAGMENT, 13, 0),
	BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
	BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_X, 0, 0, 15),
	BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0),
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 4, 0, 13),
	BPF_STMT(BPF_LD | BPF_H | BPF_IND, 0),
	BPF_STMT(BPF_ST, 1),
	BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
	BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 1),
	BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
	BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 0),
	BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
	BPF_STMT(BPF_JMP | BPF_JA, 1),
	BPF_STMT(BPF_LD | BPF_W | BPF_MEM, 0),
	TAIL
};

static const struct sock_filter	 from_lease[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, IPV4_HEADER, 0, 5),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SOURCE),
	TAIL
};

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define FILTER_MAX	COUNT(from_flow)

static int	 programs[QUEUE_NBY] = { -1, -1 };

static int
load(const struct bpf_insn *insns, size_t n)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uintptr_t)"ISC";
	return ((int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)));
}

int
queue_prepare(void)
{
	if (programs[QUEUE_BY_FLOW] == -1)
		programs[QUEUE_BY_FLOW] = load(steer_flow, COUNT(steer_flow));
	if (programs[QUEUE_BY_LEASE] == -1)
		programs[QUEUE_BY_LEASE] = load(steer_lease,
		    COUNT(steer_lease));
	return (programs[QUEUE_BY_FLOW] == -1 ||
	    programs[QUEUE_BY_LEASE] == -1 ? -1 : 0);
}

int
queue_program(enum queue_by by)
{
	return (programs[by]);
}

int
queue_steer(int tun, enum queue_by by)
{
	return (ioctl(tun, TUNSETSTEERINGEBPF, &programs[by]));
}

static int
attach(int sock, struct sock_filter *insns, size_t n)
{
	struct sock_fprog prog = { .len = (unsigned short)n,
	    .filter = insns };

	return (setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
	    sizeof(prog)));
}

int
queue_filter(int sock, enum queue_by by, uint32_t i, uint32_t n)
{
	struct sock_filter insns[FILTER_MAX], none =
	    BPF_STMT(BPF_RET | BPF_K, 0);
	size_t len = COUNT(from_flow);
	char c;

	memcpy(insns, from_flow, sizeof(from_flow));
	if (by == QUEUE_BY_LEASE) {
		memcpy(insns, from_lease, sizeof(from_lease));
		len = COUNT(from_lease);
	}
	insns[len - MODULO_AT].k = n;
	insns[len - QUEUE_AT].k = i;
	/* A packet that came before may be another queue's as well. */
	if (attach(sock, &none, 1) == -1)
		return (-1);
	while (recv(sock, &c, 1, MSG_DONTWAIT) != -1)
		;
	return (attach(sock, insns, len));
}
