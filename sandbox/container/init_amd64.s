#include "textflag.h"
#include "layout.h"

// The first process of a sandbox: see image.go. It is never called in this
// process; its bytes are copied into the image, up to the end mark. It uses no
// stack and no symbol, so it runs at any address.
//
// BX: header, R12: step, R13: the function's process.
TEXT ·initCode(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	$DATA_BASE, BX
	LEAQ	HEADER_SIZE(BX), R12

next:
	MOVQ	0(R12), AX
	MOVQ	8(R12), DI
	MOVQ	16(R12), SI
	MOVQ	24(R12), DX
	MOVQ	32(R12), R10
	MOVQ	40(R12), R8
	MOVQ	48(R12), R9
	SYSCALL
	MOVQ	56(R12), CX
	ADDQ	$STEP_SIZE, R12
	CMPQ	CX, $MODE_OPTIONAL
	JEQ	next
	CMPQ	AX, $-4095
	JCC	fail
	CMPQ	CX, $MODE_DATA
	JEQ	data
	CMPQ	CX, $MODE_FORK
	JNE	next
	TESTQ	AX, AX
	JZ	next
	JMP	parent

data:
	TESTQ	AX, AX
	JNZ	next

fail:
	NEGQ	AX
	MOVQ	R12, HEADER_KIND(BX)
	MOVQ	AX, HEADER_VALUE(BX)
	JMP	last

parent:
	MOVQ	AX, R13
	MOVQ	$MESSAGE_STARTED, HEADER_KIND(BX)
	MOVQ	AX, HEADER_VALUE(BX)
	MOVQ	$1, AX // write
	MOVQ	$STATUS_FD, DI
	LEAQ	HEADER_KIND(BX), SI
	MOVQ	$MESSAGE_SIZE, DX
	SYSCALL

reap:
	MOVQ	$61, AX // wait4
	MOVQ	$-1, DI
	LEAQ	HEADER_STATUS(BX), SI
	XORQ	DX, DX
	XORQ	R10, R10
	SYSCALL
	CMPQ	AX, R13
	JNE	reap
	MOVQ	$MESSAGE_EXITED, HEADER_KIND(BX)
	MOVQ	HEADER_STATUS(BX), AX
	MOVQ	AX, HEADER_VALUE(BX)

last:
	MOVQ	$1, AX // write
	MOVQ	$STATUS_FD, DI
	LEAQ	HEADER_KIND(BX), SI
	MOVQ	$MESSAGE_SIZE, DX
	SYSCALL
	MOVQ	$231, AX // exit_group
	MOVQ	$127, DI
	SYSCALL
	LONG	$END_LOW
	LONG	$END_HIGH

DATA ·initCodeAddress(SB)/8, $·initCode(SB)
GLOBL ·initCodeAddress(SB), RODATA, $8
