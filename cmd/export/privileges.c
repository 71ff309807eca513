/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/export/export.h"

int user_find(const char *name, struct user *user)
{
	const struct passwd *found;

	errno = 0;
	found = getpwnam(name);
	if (!found)
		return errno ? -errno : -ENOENT;
	*user = (struct user){ found->pw_uid, found->pw_gid };
	return 0;
}

/* Without CAP_SETPCAP the bounding set stays, and no_new_privs makes it irrelevant. */
static void bounding_set_clear(int keep)
{
	for (int i = 0; !prctl(PR_CAPBSET_READ, i, 0, 0, 0) || prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1; i++)
		if (i != keep)
			prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

static int capabilities_set(int keep)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct old[2], data[2] = { 0 };

	if (syscall(SYS_capget, &head, old))
		return -errno;
	if (keep >= 0) {
		data[keep / 32].permitted = old[keep / 32].permitted & 1u << keep % 32;
		data[keep / 32].effective = data[keep / 32].permitted;
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

int privileges_drop(const struct user *user, int keep)
{
	const struct rlimit no_core = { 0, 0 };
	int err;

	bounding_set_clear(keep);
	if (user && (setgroups(0, NULL) || setresgid(user->gid, user->gid, user->gid) ||
	             setresuid(user->uid, user->uid, user->uid)))
		return -errno;
	err = capabilities_set(keep);
	if (err)
		return err;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || setrlimit(RLIMIT_CORE, &no_core))
		return -errno;
	/* Other processes of the user must not trace this one. */
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? -errno : 0;
}
