/* Reset of an Armv6-M to Armv8.1-M core: coprocessors on, stack painted, memory laid out, then main.
 *
 * Assembly throughout: a compiler may vectorize a copying loop, and its registers trap before CPACR is written. */
	.syntax unified
	.thumb

	.section .vectors, "a"
	.word eg_stack_top
	.word eg_reset
	.rept 13
	.word eg_trap
	.endr
	.word eg_systick_handler

	.section .text.eg_reset, "ax"
	.thumb_func
	.type eg_reset, %function
	.global eg_reset
eg_reset:
	ldr r0, =eg_stack_top
	mov sp, r0
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
	ldr r0, =0xe000ed88
	ldr r1, [r0]
	ldr r2, =0x00f00000
	orrs r1, r2
	str r1, [r0]
	dsb
	isb
#endif
	ldr r0, =eg_stack_low
	ldr r1, =eg_stack_top
	ldr r2, =0xa5a5a5a5
1:	cmp r0, r1
	bhs 2f
	str r2, [r0]
	adds r0, #4
	b 1b
2:	ldr r0, =eg_data_begin
	ldr r1, =eg_data_end
	ldr r2, =eg_data_stored
3:	cmp r0, r1
	bhs 4f
	ldr r3, [r2]
	str r3, [r0]
	adds r0, #4
	adds r2, #4
	b 3b
4:	ldr r0, =eg_bss_begin
	ldr r1, =eg_bss_end
	movs r2, #0
5:	cmp r0, r1
	bhs 6f
	str r2, [r0]
	adds r0, #4
	b 5b
6:	bl main
7:	b 7b

	.section .text.eg_trap, "ax"
	.thumb_func
	.type eg_trap, %function
eg_trap:
	mrs r0, msp
	ldr r0, [r0, #24]	/* the stacked program counter */
	bl eg_fault
8:	b 8b
