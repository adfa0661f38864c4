#include <string.h>
#include <strings.h>

#include "dstmd/dstmd.h"

static const struct {
	uint32_t	 bit;
	const char	*name, *word;
} mechs[] = {
	{ MECH_ANONYMOUS,	"ANONYMOUS",		"anonymous" },
	{ MECH_SCRAM_SHA_256,	"SCRAM-SHA-256",	"scram-sha-256" },
	{ MECH_DIGEST_MD5,	"DIGEST-MD5",		"digest-md5" },
	{ MECH_PLAIN,		"PLAIN",		"plain" },
	{ MECH_GSSAPI,		"GSSAPI",		"gssapi" },
	{ MECH_CALL,		"SCRAM-SHA-256-PLUS",	NULL },
};
#define NMECH	(sizeof(mechs) / sizeof(mechs[0]))

const char *
mech_name(uint32_t bit)
{
	size_t i;

	for (i = 0; i < NMECH; i++)
		if (mechs[i].bit == bit)
			return (mechs[i].name);
	return (NULL);
}

const char *
mech_word(uint32_t bit)
{
	size_t i;

	for (i = 0; i < NMECH; i++)
		if (mechs[i].bit == bit)
			return (mechs[i].word);
	return (NULL);
}

uint32_t
mech_bit(const char *name)
{
	size_t i;

	for (i = 0; i < NMECH; i++)
		if (strcasecmp(mechs[i].name, name) == 0)
			return (mechs[i].bit);
	return (0);
}

uint32_t
mech_set(const uint32_t *list)
{
	uint32_t set = 0;
	size_t i;

	for (i = 0; i < MECH_MAX; i++)
		set |= list[i];
	return (set);
}

void
mech_add(uint32_t *list, uint32_t bit)
{
	size_t i;

	for (i = 0; i < MECH_MAX && list[i] != 0; i++)
		if (list[i] == bit)
			return;
	if (i < MECH_MAX)
		list[i] = bit;
}

int
name_valid(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n;

	n = strspn(name, allowed);
	if (n == 0 || n > NAME_MAX_LEN || name[n] != '\0')
		return (0);
	/* It is the identity of those who have none. */
	return (strcasecmp(name, "anonymous") != 0);
}

int
realm_valid(const char *realm)
{
	return (name_valid(realm) && strpbrk(realm,
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL);
}
