#include "textflag.h"
#include "layout.h"

// The first process of a sandbox: see image.go. It is never called in this
// process; its bytes are copied into the image, up to the end mark. It uses no
// stack and no symbol, so it runs at any address.
//
// R19: header, R20: step, R21: the function's process.
TEXT ·initCode(SB), NOSPLIT|NOFRAME, $0-0
	MOVD	$DATA_BASE, R19
	ADD	$HEADER_SIZE, R19, R20

next:
	MOVD	0(R20), R8
	MOVD	8(R20), R0
	MOVD	16(R20), R1
	MOVD	24(R20), R2
	MOVD	32(R20), R3
	MOVD	40(R20), R4
	MOVD	48(R20), R5
	SVC
	MOVD	56(R20), R9
	ADD	$STEP_SIZE, R20, R20
	CMP	$MODE_OPTIONAL, R9
	BEQ	next
	CMN	$4095, R0
	BCS	fail
	CMP	$MODE_DATA, R9
	BEQ	data
	CMP	$MODE_FORK, R9
	BNE	next
	CBZ	R0, next
	B	parent

data:
	CBNZ	R0, next

fail:
	NEG	R0, R0
	MOVD	R20, HEADER_KIND(R19)
	MOVD	R0, HEADER_VALUE(R19)
	B	last

parent:
	MOVD	R0, R21
	MOVD	$MESSAGE_STARTED, R9
	MOVD	R9, HEADER_KIND(R19)
	MOVD	R0, HEADER_VALUE(R19)
	MOVD	$64, R8 // write
	MOVD	$STATUS_FD, R0
	ADD	$HEADER_KIND, R19, R1
	MOVD	$MESSAGE_SIZE, R2
	SVC

reap:
	MOVD	$260, R8 // wait4
	MOVD	$-1, R0
	ADD	$HEADER_STATUS, R19, R1
	MOVD	$0, R2
	MOVD	$0, R3
	SVC
	CMP	R21, R0
	BNE	reap
	MOVD	$MESSAGE_EXITED, R9
	MOVD	R9, HEADER_KIND(R19)
	MOVD	HEADER_STATUS(R19), R9
	MOVD	R9, HEADER_VALUE(R19)

last:
	MOVD	$64, R8 // write
	MOVD	$STATUS_FD, R0
	ADD	$HEADER_KIND, R19, R1
	MOVD	$MESSAGE_SIZE, R2
	SVC
	MOVD	$94, R8 // exit_group
	MOVD	$127, R0
	SVC
	WORD	$END_LOW
	WORD	$END_HIGH

DATA ·initCodeAddress(SB)/8, $·initCode(SB)
GLOBL ·initCodeAddress(SB), RODATA, $8
