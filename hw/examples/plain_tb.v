// A clock and a reset for plain_top; writes its memory into a file when the program has ended.

module plain_tb;
  parameter IMAGE = "image.hex";
  parameter RESULT = "result.hex";
  parameter WORDS = 8192;
  parameter PROGRAM_LENGTH = 0;
  parameter DATA_BASE = 0;
  parameter READ_LIMIT = 0;
  parameter WRITE_BASE = 0;
  parameter WRITE_LIMIT = 0;
  parameter CYCLES = 1000000;  // after which it cannot be right any more

  reg clk = 1'b0, rst = 1'b1;
  wire done, failed;
  wire [31:0] error_code;

  plain_top #(
    .IMAGE(IMAGE), .WORDS(WORDS), .PROGRAM_LENGTH(PROGRAM_LENGTH), .DATA_BASE(DATA_BASE), .READ_LIMIT(READ_LIMIT),
    .WRITE_BASE(WRITE_BASE), .WRITE_LIMIT(WRITE_LIMIT)
  ) top (.clk(clk), .rst(rst), .done(done), .failed(failed), .error_code(error_code));

  always #5 clk = ~clk;

  integer cycle;
  initial begin
    for (cycle = 0; cycle < CYCLES && !done; cycle = cycle + 1) begin
      @(posedge clk);
      if (cycle == 3) rst <= 1'b0;
    end
    @(posedge clk);
    if (!done) $display("no end after %0d cycles", cycle);
    else if (failed) $display("failed with error %0d", error_code);
    else $display("done after %0d cycles", cycle);
    $writememh(RESULT, top.memory);
    $finish;
  end
endmodule
