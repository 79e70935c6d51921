/* Reset of a 32-bit RISC-V core in machine mode: stack painted, memory laid out, then main. */
	.section .vectors, "ax"
	.global eg_reset
eg_reset:
	.option push
	.option norelax
	la gp, __global_pointer$
	.option pop
	la sp, eg_stack_top
	la t0, eg_trap
	csrw mtvec, t0
	la t0, eg_stack_low
	la t1, eg_stack_top
	li t2, 0xa5a5a5a5
1:	bgeu t0, t1, 2f
	sw t2, 0(t0)
	addi t0, t0, 4
	j 1b
2:	la t0, eg_data_begin
	la t1, eg_data_end
	la t2, eg_data_stored
3:	bgeu t0, t1, 4f
	lw t3, 0(t2)
	sw t3, 0(t0)
	addi t0, t0, 4
	addi t2, t2, 4
	j 3b
4:	la t0, eg_bss_begin
	la t1, eg_bss_end
5:	bgeu t0, t1, 6f
	sw zero, 0(t0)
	addi t0, t0, 4
	j 5b
6:	call main
7:	j 7b

	.balign 4
eg_trap:
	csrr a0, mepc
	call eg_fault
8:	j 8b
