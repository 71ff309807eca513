/* SPDX-License-Identifier: MIT */
/* The assembler includes the files of the page, which are found by -I. */
#include "cmd/report/page.h"

/* clang-format off */
__asm__(
	".section .rodata\n"
	".globl page_head, page_head_end, page_tail, page_tail_end\n"
	".hidden page_head, page_head_end, page_tail, page_tail_end\n"
	"page_head:\n"
	".incbin \"cmd/report/page/head.html\"\n"
	".ascii \"<style>\\n\"\n"
	".incbin \"cmd/report/page/style.css\"\n"
	".ascii \"</style>\\n\"\n"
	".incbin \"cmd/report/page/body.html\"\n"
	".ascii \"<script id=\\\"data\\\" type=\\\"application/json\\\">\\n\"\n"
	"page_head_end:\n"
	".byte 0\n"
	"page_tail:\n"
	".ascii \"</script>\\n<script>\\n\"\n"
	".incbin \"cmd/report/page/common.js\"\n"
	".incbin \"cmd/report/page/timeline.js\"\n"
	".incbin \"cmd/report/page/heat.js\"\n"
	".incbin \"cmd/report/page/flame.js\"\n"
	".incbin \"cmd/report/page/tables.js\"\n"
	".incbin \"cmd/report/page/start.js\"\n"
	".ascii \"</script>\\n</body>\\n</html>\\n\"\n"
	"page_tail_end:\n"
	".byte 0\n"
	".previous\n");
/* clang-format on */
