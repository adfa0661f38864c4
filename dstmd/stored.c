/*
 * What is stored in the place of a password, for each mechanism that checks
 * one. For auth and dstmctl, which link libcrypto.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdio.h>
#include <string.h>

#include "dstmd/dstmd.h"
#include "dstmd/stored.h"

#define KEY_SIZE	32

static void
hmac(const uint8_t *key, const char *text, uint8_t *out)
{
	unsigned int len = KEY_SIZE;

	if (HMAC(EVP_sha256(), key, KEY_SIZE, (const uint8_t *)text,
	    strlen(text), out, &len) == NULL)
		fatalx("HMAC");
}

/* RFC 5802, 3 */
int
scram_make(const char *password, uint32_t iterations, const uint8_t *salt,
    size_t saltlen, char *out, size_t size)
{
	uint8_t salted[KEY_SIZE], client[KEY_SIZE], stored[KEY_SIZE];
	uint8_t server[KEY_SIZE];
	char salt64[64], stored64[64], server64[64];
	int n;

	if (saltlen > 45)
		return (-1);
	if (PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt,
	    (int)saltlen, (int)iterations, EVP_sha256(), KEY_SIZE,
	    salted) != 1)
		fatalx("PBKDF2");
	hmac(salted, "Client Key", client);
	hmac(salted, "Server Key", server);
	if (EVP_Digest(client, KEY_SIZE, stored, NULL, EVP_sha256(),
	    NULL) != 1)
		fatalx("SHA-256");
	EVP_EncodeBlock((uint8_t *)salt64, salt, (int)saltlen);
	EVP_EncodeBlock((uint8_t *)stored64, stored, KEY_SIZE);
	EVP_EncodeBlock((uint8_t *)server64, server, KEY_SIZE);
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
	n = snprintf(out, size, "SCRAM-SHA-256$%u:%s$%s:%s", iterations,
	    salt64, stored64, server64);
	return (n < 0 || (size_t)n >= size ? -1 : 0);
}

/* RFC 2831, 2.1.2.1: H({ username, ":", realm, ":", password }) */
int
ha1_make(const char *name, const char *realm, const char *password,
    uint8_t *out)
{
	char text[2 * NAME_SIZE + 512];
	int n;

	n = snprintf(text, sizeof(text), "%s:%s:%s", name, realm, password);
	if (n < 0 || (size_t)n >= sizeof(text))
		return (-1);
	if (EVP_Digest(text, (size_t)n, out, NULL, EVP_md5(), NULL) != 1)
		fatalx("MD5");
	explicit_bzero(text, sizeof(text));
	return (0);
}
