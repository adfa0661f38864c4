/*
 * A fuzzer is one parser behind one function: octets in, and nothing may
 * happen but what the parser's header says. fuzz.c turns it into what AFL++
 * and libFuzzer call, replay.c into a program that reads files.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* What each fuzz_NAME.c has. The octets are a copy of that very size. */
void		 fuzz_init(void);	/* once, before the first input */
void		 fuzz_one(const uint8_t *, size_t);

/*
 * What must hold whatever comes. It ends the program with a core, as
 * does exit(3) (and so fatal) within fuzz_one.
 */
#define MUST(cond) do {							\
	if (!(cond))							\
		fuzz_failed(__FILE__, __LINE__, #cond);			\
} while (0)
void		 fuzz_failed(const char *, int, const char *)
		    __attribute__((__noreturn__));

/* Reading the input as a script: 0 and nothing where it has ended. */
struct input {
	const uint8_t	*p;
	size_t		 n;
};
uint32_t	 input_number(struct input *, int);	/* octets, big endian */
/*
 * A length of 16 bits and so many octets, or as many as there are; to free.
 * Of just their size, so that the sanitizer sees who reads behind them.
 */
uint8_t		*input_piece(struct input *, size_t *);

/*
 * So many us pass for the timers of an event loop and for the harness's own
 * clock (us), without waiting: those that come due are run in their order.
 */
struct event_base;
void		 time_passes(struct event_base *, int64_t *, int64_t);

/* For the engines, from fuzz.c. */
int		 LLVMFuzzerInitialize(int *, char ***);
int		 LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#endif /* FUZZ_FUZZ_H */
