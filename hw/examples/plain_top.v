// Rowcast inside a plain Verilog design: a memory, a small state machine that starts a program, a light at its end.
//
// The accelerator is module `rowcast` of rowcast.v (`rowcast generate -o out`).  Everything in here is what an
// integrator writes: connect all ports by name, give it memory on m_axi, write its registers on s_axil, wait for irq.
//
// Simulate, after `rowcast generate` and with a memory image (one word of 64 bits a line, hexadecimal):
//     iverilog -g2005 -o sim plain_tb.v plain_top.v rowcast.v && ./sim    (parameters in plain_tb.v or with -P)
// Parameters are byte addresses in this memory; `rowcast compile` writes them into its memory map.

module plain_top #(
  parameter IMAGE = "image.hex",         // program, weights and input, as `rowcast compile` lays them out
  parameter WORDS = 8192,                // of 64 bits
  parameter [31:0] PROGRAM_LENGTH = 0,   // instructions
  parameter [31:0] DATA_BASE = 0,        // from here the program's addresses count
  parameter [31:0] READ_LIMIT = 0,       // the accelerator reads below this
  parameter [31:0] WRITE_BASE = 0,       // it writes from here ...
  parameter [31:0] WRITE_LIMIT = 0       // ... to below this
) (
  input wire clk,
  input wire rst,        // synchronous, active high
  output reg done = 1'b0,
  output reg failed = 1'b0,
  output reg [31:0] error_code = 32'd0
);
  // The memory bus of the accelerator.  Only what this memory needs is looked at: all bursts are INCR of whole words.
  wire [31:0] awaddr, araddr;
  wire [7:0] awlen, arlen, wstrb;
  wire awid, arid, awvalid, arvalid, wvalid, wlast, bready, rready;
  wire [63:0] wdata;
  reg awready = 1'b0, arready = 1'b0, wready = 1'b0, bvalid = 1'b0, rvalid = 1'b0, rlast = 1'b0, rid = 1'b0, bid = 1'b0;
  reg [63:0] rdata = 64'd0;

  // The register bus.
  reg [11:0] reg_address = 12'd0;
  reg [31:0] reg_wdata = 32'd0;
  reg reg_awvalid = 1'b0, reg_wvalid = 1'b0, reg_arvalid = 1'b0;
  wire reg_awready, reg_wready, reg_arready, reg_bvalid, reg_rvalid;
  wire [1:0] reg_bresp, reg_rresp;
  wire [31:0] reg_rdata;
  wire irq;

  rowcast accelerator (
    .clk(clk), .rst(rst),
    // memory
    .m_axi_awid(awid), .m_axi_awaddr(awaddr), .m_axi_awlen(awlen), .m_axi_awsize(), .m_axi_awburst(),
    .m_axi_awlock(), .m_axi_awcache(), .m_axi_awprot(), .m_axi_awvalid(awvalid), .m_axi_awready(awready),
    .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast), .m_axi_wvalid(wvalid), .m_axi_wready(wready),
    .m_axi_bid(bid), .m_axi_bresp(2'b00), .m_axi_bvalid(bvalid), .m_axi_bready(bready),
    .m_axi_arid(arid), .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arsize(), .m_axi_arburst(),
    .m_axi_arlock(), .m_axi_arcache(), .m_axi_arprot(), .m_axi_arvalid(arvalid), .m_axi_arready(arready),
    .m_axi_rid(rid), .m_axi_rdata(rdata), .m_axi_rresp(2'b00), .m_axi_rlast(rlast), .m_axi_rvalid(rvalid),
    .m_axi_rready(rready),
    // registers
    .s_axil_awaddr(reg_address), .s_axil_awprot(3'b000), .s_axil_awvalid(reg_awvalid), .s_axil_awready(reg_awready),
    .s_axil_wdata(reg_wdata), .s_axil_wstrb(4'b1111), .s_axil_wvalid(reg_wvalid), .s_axil_wready(reg_wready),
    .s_axil_bresp(reg_bresp), .s_axil_bvalid(reg_bvalid), .s_axil_bready(1'b1),
    .s_axil_araddr(reg_address), .s_axil_arprot(3'b000), .s_axil_arvalid(reg_arvalid), .s_axil_arready(reg_arready),
    .s_axil_rdata(reg_rdata), .s_axil_rresp(reg_rresp), .s_axil_rvalid(reg_rvalid), .s_axil_rready(1'b1),
    // the end of a run, and what a trace wants to know
    .irq(irq), .running(), .cause(), .layer()
  );

  // Memory: one burst at a time each way, a word a cycle.
  reg [63:0] memory [0:WORDS-1];
  initial $readmemh(IMAGE, memory);
  reg [28:0] read_word = 29'd0, write_word = 29'd0;
  reg [8:0] read_left = 9'd0;  // words of the burst that are still to be offered
  reg writing = 1'b0;
  integer lane;
  always @(posedge clk) begin
    // reads
    arready <= 1'b0;
    if (rvalid && rready) rvalid <= 1'b0;
    if (read_left != 9'd0 && (!rvalid || rready)) begin
      rdata <= memory[read_word];
      rvalid <= 1'b1;
      rlast <= read_left == 9'd1;
      read_word <= read_word + 29'd1;
      read_left <= read_left - 9'd1;
    end
    if (arvalid && !arready && read_left == 9'd0 && !rvalid) begin
      arready <= 1'b1;
      rid <= arid;
      read_word <= araddr[31:3];
      read_left <= {1'b0, arlen} + 9'd1;
    end
    // writes
    awready <= 1'b0;
    if (awvalid && !awready && !writing && !bvalid) begin
      awready <= 1'b1;
      writing <= 1'b1;
      wready <= 1'b1;
      bid <= awid;
      write_word <= awaddr[31:3];
    end
    if (wvalid && wready) begin
      for (lane = 0; lane < 8; lane = lane + 1)
        if (wstrb[lane]) memory[write_word][8*lane +: 8] <= wdata[8*lane +: 8];
      write_word <= write_word + 29'd1;
      if (wlast) begin
        wready <= 1'b0;
        writing <= 1'b0;
        bvalid <= 1'b1;
      end
    end
    if (bvalid && bready) bvalid <= 1'b0;
    if (rst) begin
      rvalid <= 1'b0;
      bvalid <= 1'b0;
      wready <= 1'b0;
      writing <= 1'b0;
      read_left <= 9'd0;
    end
  end

  // Control: write the registers of this list, one after the other, wait for the interrupt, read how it ended.
  // Offsets are those of rowcast.h.
  reg [3:0] step = 4'd0;
  reg [43:0] item;  // {offset, value}
  always @* begin
    case (step)
      4'd0: item = {12'h024, PROGRAM_LENGTH};
      4'd1: item = {12'h028, 32'd0};         // PROGRAM_BASE: the image begins with the program
      4'd2: item = {12'h030, DATA_BASE};
      4'd3: item = {12'h038, 32'd0};         // READ_BASE
      4'd4: item = {12'h040, READ_LIMIT};
      4'd5: item = {12'h048, WRITE_BASE};
      4'd6: item = {12'h050, WRITE_LIMIT};
      4'd7: item = {12'h014, 32'd3};         // IRQ_ENABLE: done and error
      default: item = {12'h00c, 32'd1};      // CONTROL: start
    endcase
  end

  localparam [2:0] WRITE = 3'd0, ANSWER = 3'd1, WAIT = 3'd2, READ = 3'd3, VALUE = 3'd4, END = 3'd5;
  reg [2:0] state = WRITE;
  always @(posedge clk) begin
    case (state)
      WRITE: begin
        reg_address <= item[43:32];
        reg_wdata <= item[31:0];
        reg_awvalid <= 1'b1;
        reg_wvalid <= 1'b1;
        state <= ANSWER;
      end
      ANSWER: begin
        if (reg_awready) reg_awvalid <= 1'b0;
        if (reg_wready) reg_wvalid <= 1'b0;
        if (reg_bvalid) begin
          step <= step + 4'd1;
          state <= (step == 4'd8) ? WAIT : WRITE;
        end
      end
      WAIT: if (irq) begin
        reg_address <= 12'h01c;              // ERROR_CODE: 0 if all is well
        reg_arvalid <= 1'b1;
        state <= READ;
      end
      READ: if (reg_arready) begin
        reg_arvalid <= 1'b0;
        state <= VALUE;
      end
      VALUE: if (reg_rvalid) begin
        error_code <= reg_rdata;
        failed <= reg_rdata != 32'd0;
        done <= 1'b1;
        state <= END;
      end
      default: ;
    endcase
    if (rst) begin
      state <= WRITE;
      step <= 4'd0;
      reg_awvalid <= 1'b0;
      reg_wvalid <= 1'b0;
      reg_arvalid <= 1'b0;
      done <= 1'b0;
      failed <= 1'b0;
    end
  end
endmodule
