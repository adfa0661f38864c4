#include <sys/types.h>
#include <sys/socket.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "priv/priv.h"

#define LISTEN_BACKLOG	1024

static int	 listen_fds[LISTEN_MAX];

static int
listen_one(const struct conf_listen *l)
{
	struct sockaddr_in6 sin6;
	int fd, on = 1;

	memset(&sin6, 0, sizeof(sin6));
	sin6.sin6_family = AF_INET6;
	sin6.sin6_addr = l->addr;
	sin6.sin6_port = htons(l->port);
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		fatal("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == -1)
		fatal("setsockopt");
	if (bind(fd, (struct sockaddr *)&sin6, sizeof(sin6)) == -1)
		fatal("listen on %s port %u", log_in6(&l->addr), l->port);
	if (listen(fd, LISTEN_BACKLOG) == -1)
		fatal("listen");
	return (fd);
}

void
listen_open(void)
{
	uint32_t i;

	for (i = 0; i < priv.conf->nlisten; i++)
		listen_fds[i] = listen_one(&priv.conf->listen[i]);
}

/* The one before may have ended it (shutdown): it is the same socket. */
void
listen_again(void)
{
	uint32_t i;

	for (i = 0; i < priv.conf->nlisten; i++)
		if (listen(listen_fds[i], LISTEN_BACKLOG) == -1)
			fatal("listen");
}

int
listen_fd(uint32_t i)
{
	return (listen_fds[i]);
}

int
listen_match(const struct sockaddr_in6 *local)
{
	const struct conf_listen *l;
	int any = -1;
	uint32_t i;

	for (i = 0; i < priv.conf->nlisten; i++) {
		l = &priv.conf->listen[i];
		if (ntohs(local->sin6_port) != l->port)
			continue;
		if (IN6_ARE_ADDR_EQUAL(&local->sin6_addr, &l->addr))
			return ((int)i);
		if (IN6_IS_ADDR_UNSPECIFIED(&l->addr))
			any = (int)i;
	}
	return (any);
}
