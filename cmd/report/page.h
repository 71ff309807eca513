/* SPDX-License-Identifier: MIT */
/* page.html, before and after the place of the data. */
#ifndef CMD_REPORT_PAGE_H
#define CMD_REPORT_PAGE_H

extern const char page_head[], page_head_end[], page_tail[], page_tail_end[];

#endif
